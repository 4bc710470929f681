"""LSTMs, GRUs and plain RNNs, unrolled so that the gradients at their gates are seen.

With those known at all times, the weights of a cell are affine maps of what it reads and of its own
states. An LSTM (Hochreiter and Schmidhuber, 1997) and an RNN use the sum z = W x + b + V h + b' alone; a
GRU (Cho et al., 2014) multiplies a part of V h + b', which has a gradient of its own. The gates stand
in PyTorch's order.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from sparsefed.clients.ghost.affine import Affine
from sparsefed.clients.ghost.base import Layer, UnsupportedError

__all__ = ["RECURRENT", "unrolled"]

RECURRENT = (nn.LSTM, nn.GRU, nn.RNN)
"""Exact types, as for all layers."""

Tap: TypeAlias = Callable[[Layer, Tensor, Tensor], None]
"""Is told of a layer, its input, and the tensor whose gradient it needs."""

State: TypeAlias = tuple[Tensor, ...]
"""What a cell hands on, its output h first, `[batch, hidden]` each."""


class _Cell(NamedTuple):
    """The parameters of one layer in one direction."""

    weight_ih: nn.Parameter
    weight_hh: nn.Parameter
    bias_ih: nn.Parameter | None
    bias_hh: nn.Parameter | None

    @classmethod
    def of(cls, module: nn.RNNBase, suffix: str) -> "_Cell":
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        return cls(*(getattr(module, f"{name}_{suffix}", None) for name in names))  # pyright: ignore[reportArgumentType]


def unrolled(module: Any, clients: int, tap: Tap) -> Callable[..., tuple[Tensor, Any]]:
    """`module.forward` as a loop over time that tells `tap` of every layer and direction."""
    if getattr(module, "proj_size", 0) > 0 or (module.dropout > 0 and module.training):
        raise UnsupportedError(f"{type(module).__name__} has settings that the engine does not know")
    with_cells = isinstance(module, nn.LSTM)

    def forward(x: Tensor, start: Any = None) -> tuple[Tensor, Any]:
        if not isinstance(x, Tensor) or x.ndim != 3:
            kind = "something other than a batch of sequences of one length"
            raise UnsupportedError(f"{type(module).__name__} reads {kind}")
        states = x if module.batch_first else x.transpose(0, 1)
        directions = 2 if module.bidirectional else 1
        zeros = x.new_zeros(module.num_layers * directions, len(states), module.hidden_size)
        given = start if with_cells else (start,)
        starts = (zeros,) * (1 + with_cells) if start is None else given
        ends: list[State] = []
        for depth in range(module.num_layers):
            outputs = []
            for direction in range(directions):
                cell = _Cell.of(module, f"l{depth}" + "_reverse" * direction)
                first = tuple(part[len(ends)] for part in starts)
                run = _Run(module, cell, clients, tap, backwards=bool(direction))
                output, end = run(states, first)
                outputs.append(output)
                ends.append(end)
            states = torch.cat(outputs, dim=2) if directions > 1 else outputs[0]
        last = tuple(torch.stack(part) for part in zip(*ends, strict=True))
        output = states if module.batch_first else states.transpose(0, 1)
        return output, last if with_cells else last[0]

    return forward


class _Run(NamedTuple):
    """One layer in one direction, told of by `tap`."""

    module: nn.RNNBase
    cell: _Cell
    clients: int
    tap: Tap
    backwards: bool

    def __call__(self, x: Tensor, start: State) -> tuple[Tensor, State]:
        """All outputs, `[batch, time, hidden]`, and the last state."""
        by_x, by_h, layer = self._tapped(x)
        state, seen, outputs = start, [], []
        step = _STEPS[type(self.module)]
        times = range(x.shape[1])
        reads, adds = by_x.unbind(1), [None] * len(times) if by_h is None else by_h.unbind(1)
        for time in reversed(times) if self.backwards else times:
            seen.append(state[0])
            state = step(self.module, reads[time], adds[time], self.cell.weight_hh, state)
            outputs.append(state[0])
        if self.backwards:
            seen.reverse()
            outputs.reverse()
        layer.inputs.append(torch.stack(seen, 1).detach())
        return torch.stack(outputs, 1), state

    def _tapped(self, x: Tensor) -> tuple[Tensor, Tensor | None, Affine]:
        """What is known of the gates before the states are, and the layer that reads the states."""
        cell = self.cell
        biases = [bias for bias in (cell.bias_ih, cell.bias_hh) if bias is not None]
        if not isinstance(self.module, nn.GRU):
            by_x = functional.linear(x, cell.weight_ih, biases[0] + biases[1] if biases else None)
            layer = Affine(self.module, x, self.clients, [cell.weight_ih, cell.weight_hh], biases)
            self.tap(layer, x, by_x)  # z = by_x + V h, so the gradient at `by_x` is dz
            return by_x, None, layer
        by_x = functional.linear(x, cell.weight_ih, cell.bias_ih)
        by_h = torch.zeros_like(by_x, requires_grad=True) if not biases else biases[1].expand(by_x.shape)
        reader, layer = (
            Affine(self.module, x, self.clients, [weight], biases[place : place + 1])
            for place, weight in enumerate((cell.weight_ih, cell.weight_hh))
        )
        layer.inputs.clear()
        self.tap(reader, x, by_x)
        self.tap(layer, x.detach(), by_h)
        return by_x, by_h, layer


def _lstm(module: nn.RNNBase, read: Tensor, add: Tensor | None, weight: Tensor, state: State) -> State:
    h, c = state
    let_in, keep, new, let_out = torch.addmm(read, h, weight.T).chunk(4, 1)
    c = keep.sigmoid() * c + let_in.sigmoid() * new.tanh()
    return let_out.sigmoid() * c.tanh(), c


def _gru(module: nn.RNNBase, read: Tensor, add: Tensor, weight: Tensor, state: State) -> State:
    (h,) = state
    hidden = torch.addmm(add, h, weight.T)
    size = 2 * module.hidden_size
    reset, update = (read[:, :size] + hidden[:, :size]).sigmoid().chunk(2, 1)
    new = torch.addcmul(read[:, size:], reset, hidden[:, size:]).tanh()
    return (torch.lerp(new, h, update),)


def _rnn(module: nn.RNNBase, read: Tensor, add: Tensor | None, weight: Tensor, state: State) -> State:
    z = torch.addmm(read, state[0], weight.T)
    return (z.relu() if module.mode == "RNN_RELU" else z.tanh(),)


_STEPS: dict[type[nn.Module], Callable[..., State]] = {nn.LSTM: _lstm, nn.GRU: _gru, nn.RNN: _rnn}
