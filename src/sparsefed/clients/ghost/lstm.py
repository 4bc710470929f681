"""An LSTM, unrolled so that the gradients at its gates are seen: two linear layers over time.

A cell computes z = W x + b + V h + b' and from z its gates (Hochreiter and Schmidhuber, 1997; PyTorch's
order: input, forget, cell, output). With dz known at all times, W and V are linear layers with inputs
x and h, and both biases have the gradient Σ dz.
"""

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from sparsefed.clients.ghost.base import Layer, Outer, Rows, Sums, UnsupportedError, pair_sums
from sparsefed.clients.ghost.linear import add_outer
from sparsefed.core.types import PerClient

__all__ = ["LSTMLayer", "unrolled"]

Tap: TypeAlias = Callable[["LSTMLayer", Tensor, Tensor], None]
"""Is told of a layer, its input, and the tensor whose gradient is dz."""


class LSTMLayer(Layer):
    """One layer of an `nn.LSTM` in one direction; `h` are the states that its cells read."""

    h: Tensor

    def __init__(self, module: nn.LSTM, suffix: str, x: Tensor, clients: int) -> None:
        super().__init__(module, x, clients)
        self.weight_ih, self.weight_hh = (getattr(module, f"weight_{kind}_{suffix}") for kind in ("ih", "hh"))
        kinds = ("ih", "hh") if module.bias else ()
        self.biases: list[nn.Parameter] = [getattr(module, f"bias_{kind}_{suffix}") for kind in kinds]

    def parameters(self) -> list[nn.Parameter]:
        return [self.weight_ih, self.weight_hh, *self.biases]

    def bias(self) -> Tensor | None:
        """The sum of both biases, if there are any."""
        return self.biases[0] + self.biases[1] if self.biases else None

    def measure(self, dy: Tensor) -> PerClient:
        self.x, self.h, self.dz = self.per_client(self.x), self.per_client(self.h), self.per_client(dy)
        grams = torch.bmm(self.x, self.x.mT).baddbmm_(self.h, self.h.mT)
        grams += len(self.biases)
        return pair_sums(grams, torch.bmm(self.dz, self.dz.mT))

    def add(self, factors: PerClient, sums: Sums) -> None:
        add_outer(sums[self.weight_ih], self.dz, self.x, factors)
        add_outer(sums[self.weight_hh], self.dz, self.h, factors)
        each = factors.repeat_interleave(self.dz.shape[1])
        for bias in self.biases:
            sums[bias].addmv_(self.dz.flatten(0, 1).T, each)

    def write(self, dy: Tensor, rows: Rows) -> None:
        dz = self.per_client(dy)
        for weight, read in ((self.weight_ih, self.x), (self.weight_hh, self.h)):
            rows.views[weight].baddbmm_(dz.mT, self.per_client(read), beta=rows.keeps(weight))
        for bias in self.biases:
            rows.put(bias, dz.sum(1))

    def inner(self, dy: Tensor) -> PerClient:
        z = functional.linear(self.x, self.weight_ih, self.bias()) + functional.linear(self.h, self.weight_hh)
        return (self.per_client(dy) * z.reshape(self.clients, -1, z.shape[-1])).sum((1, 2))

    def outer(self, parameter: nn.Parameter) -> Outer:
        if parameter is self.weight_ih:
            return Outer(self.dz, self.x)
        return Outer(self.dz, self.h if parameter is self.weight_hh else torch.ones_like(self.x[..., :1]))


def unrolled(module: nn.LSTM, clients: int, tap: Tap) -> Callable[..., tuple[Tensor, tuple[Tensor, Tensor]]]:
    """`module.forward` as a loop over time that tells `tap` of every layer and direction."""

    def forward(
        x: Tensor, start: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        if not isinstance(x, Tensor) or x.ndim != 3:
            raise UnsupportedError("an LSTM reads something other than a batch of sequences of one length")
        states = x if module.batch_first else x.transpose(0, 1)
        directions = 2 if module.bidirectional else 1
        hidden = x.new_zeros(module.num_layers * directions, len(states), module.hidden_size)
        starts = (hidden, hidden) if start is None else start
        ends: list[tuple[Tensor, Tensor]] = []
        for depth in range(module.num_layers):
            outputs = []
            for direction in range(directions):
                layer = LSTMLayer(module, f"l{depth}" + "_reverse" * direction, states, clients)
                first = (starts[0][len(ends)], starts[1][len(ends)])
                output, end = _run(layer, states, first, bool(direction), tap)
                outputs.append(output)
                ends.append(end)
            states = torch.cat(outputs, dim=2) if directions > 1 else outputs[0]
        last_h, last_c = (torch.stack(part) for part in zip(*ends, strict=True))
        return states if module.batch_first else states.transpose(0, 1), (last_h, last_c)

    return forward


def _run(
    layer: LSTMLayer, x: Tensor, start: tuple[Tensor, Tensor], backwards: bool, tap: Tap
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """All states of one layer in one direction, `[batch, time, hidden]`, and the last state and cell."""
    read = functional.linear(x, layer.weight_ih, layer.bias())
    tap(layer, x, read)  # z = read + V h, so the gradient at `read` is dz
    (h, c), seen, states = start, [], []
    for step in reversed(read.unbind(1)) if backwards else read.unbind(1):
        seen.append(h)
        h, c = _cell(torch.addmm(step, h, layer.weight_hh.T), c)
        states.append(h)
    if backwards:
        seen.reverse()
        states.reverse()
    layer.h = torch.stack(seen, 1).detach()
    return torch.stack(states, 1), (h, c)


def _cell(z: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """The next state and cell from the gates' inputs."""
    let_in, keep, new, let_out = z.chunk(4, 1)
    c = keep.sigmoid() * c + let_in.sigmoid() * new.tanh()
    return let_out.sigmoid() * c.tanh(), c
