"""Modules that people have: those that train, and those that are refused in one line."""

import random
from collections import namedtuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations, parametrize

CLASSES = 10


def flat(*parts: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Flatten(), *parts)


class Module(nn.Module):
    """A linear layer on 64 features, and whatever a subclass adds."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, CLASSES)
        self.add()

    def add(self) -> None: ...

    def forward(self, x):
        return self.layer(x.flatten(1))


class HasASpareLayer(Module):
    def add(self):
        self.spare = nn.Linear(64, 3)


class HasAScalar(Module):
    def add(self):
        self.scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, x):
        return self.scale * super().forward(x)


class HasAnEmptyParameter(Module):
    def add(self):
        self.nothing = nn.Parameter(torch.empty(0, 3))

    def forward(self, x):
        return super().forward(x) + self.nothing.sum()


class HasOddStrides(Module):
    def add(self):
        self.layer.weight = nn.Parameter(torch.randn(64, CLASSES).t())
        self.shift = nn.Parameter(torch.zeros(1).expand(CLASSES))

    def forward(self, x):
        return super().forward(x) + self.shift


class IsOfMixedTypes(Module):
    def add(self):
        self.inner = nn.Linear(64, 64).to(torch.bfloat16)
        self.double()
        self.inner.to(torch.bfloat16)

    def forward(self, x):
        return self.layer(self.inner(x.flatten(1)))


class IsTied(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(64, 64), nn.Linear(64, 64)
        self.second.weight = self.first.weight
        self.last = nn.Linear(64, CLASSES)

    def forward(self, x):
        return self.last(torch.tanh(self.second(torch.tanh(self.first(x.flatten(1))))))


class LooksUp(nn.Module):
    """Gradients of its embedding are sparse tensors."""

    def __init__(self):
        super().__init__()
        self.levels = nn.Embedding(17, 4, sparse=True)
        self.last = nn.Linear(256, CLASSES)

    def forward(self, x):
        return self.last(self.levels((16 * x.flatten(1)).long().clamp(0, 16)).flatten(1))


class KeepsConstants(Module):
    """A mask, a table that is not saved, a complex rotation, and integers."""

    def add(self):
        self.register_buffer("mask", torch.arange(64) % 3 > 0)
        self.register_buffer("positions", torch.linspace(0, 1, 64), persistent=False)
        self.register_buffer("rotation", torch.polar(torch.ones(32), torch.linspace(0, 3, 32)))

    def forward(self, x):
        x = x.flatten(1) * self.mask + self.positions
        turned = torch.view_as_complex(x.reshape(-1, 32, 2).contiguous()) * self.rotation
        return self.layer(torch.view_as_real(turned).flatten(1).to(x))


class MakesATableOnce(Module):
    """A buffer and a cache that the first pass sets up."""

    def add(self):
        self.register_buffer("table", None)
        self.known = {}

    def forward(self, x):
        if self.table is None:
            self.table = torch.linspace(0, 1, 64, device=x.device, dtype=x.dtype)
        self.known.setdefault(x.shape[1:], len(self.known))
        return self.layer(x.flatten(1) + self.table)


class RemembersWhatItSaw(Module):
    """Keeps its last activations for someone to look at."""

    def forward(self, x):
        self.seen = super().forward(x)
        return self.seen


def frozen_backbone():
    backbone = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU()).requires_grad_(False).eval()
    return nn.Sequential(backbone, nn.Flatten(), nn.Linear(4 * 36, CLASSES))


def frozen_statistics():
    """The scale and the shift of the batch normalization train, its statistics do not."""
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4).eval(), nn.Flatten(), nn.Linear(144, CLASSES))


def only_biases():
    module = flat(nn.Linear(64, 16), nn.Tanh(), nn.Linear(16, CLASSES))
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(name.endswith("bias"))
    return module


class LoRA(nn.Module):
    def __init__(self, base, rank=2):
        super().__init__()
        self.base = base.requires_grad_(False)
        self.down = nn.Linear(base.in_features, rank, bias=False)
        self.up = nn.Linear(rank, base.out_features, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, x):
        return self.base(x) + self.up(self.down(x))


TRAINS = {
    "a layer that is not used": HasASpareLayer,
    "a scalar": HasAScalar,
    "an empty parameter": HasAnEmptyParameter,
    "odd strides": HasOddStrides,
    "mixed types": IsOfMixedTypes,
    "tied weights": IsTied,
    "sparse gradients": LooksUp,
    "weight normalization": lambda: flat(parametrizations.weight_norm(nn.Linear(64, CLASSES))),
    "an orthogonal layer": lambda: flat(
        parametrizations.orthogonal(nn.Linear(64, 64)), nn.Linear(64, CLASSES)
    ),
    "a parametrization": lambda: flat(parametrized(nn.Linear(64, CLASSES))),
    "constant buffers": KeepsConstants,
    "a table made once": MakesATableOnce,
    "activations kept": RemembersWhatItSaw,
    "lazy layers": lambda: nn.Sequential(nn.LazyConv2d(4, 3), nn.Flatten(), nn.LazyLinear(CLASSES)),
    "a frozen backbone": frozen_backbone,
    "frozen statistics": frozen_statistics,
    "biases only": only_biases,
    "LoRA": lambda: flat(LoRA(nn.Linear(64, 16)), nn.Tanh(), LoRA(nn.Linear(16, CLASSES))),
    "double precision": lambda: flat(nn.Linear(64, CLASSES).double()),
    "half precision": lambda: flat(nn.Linear(64, CLASSES).to(torch.bfloat16)),
}


class Squares(nn.Module):
    def forward(self, weight):
        return weight**2


def parametrized(layer):
    parametrize.register_parametrization(layer, "weight", Squares())
    return layer


class Counts(Module):
    calls = 0

    def forward(self, x):
        self.calls += 1
        return super().forward(x)


class CountsInABuffer(Module):
    def add(self):
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))

    def forward(self, x):
        self.calls += 1
        return super().forward(x)


class CountsElsewhere(Module):
    """State that no attribute shows; its results do."""

    def add(self):
        calls = []
        self.layer.register_forward_hook(lambda _, __, y: y / len(calls) if calls.append(1) is None else y)


class HasItsOwnGenerator(Module):
    def add(self):
        self.generator = np.random.default_rng(0)

    def forward(self, x):
        return super().forward(x) + float(self.generator.normal())


class AsksTheSystem(Module):
    def forward(self, x):
        return super().forward(x) * random.SystemRandom().random()


class Freezes(Module):
    def add(self):
        self.first = nn.Linear(64, 64)

    def forward(self, x):
        self.first.requires_grad_(False)
        return self.layer(self.first(x.flatten(1)))


class ScalesItsWeights(nn.Module):
    def __init__(self):
        super().__init__()
        self.levels, self.last = nn.Embedding(17, 4, max_norm=0.1), nn.Linear(256, CLASSES)

    def forward(self, x):
        return self.last(self.levels((16 * x.flatten(1)).long().clamp(0, 16)).flatten(1))


class IsCut(Module):
    def forward(self, x):
        return super().forward(x).detach()


class IsComplex(Module):
    def add(self):
        self.phase = nn.Parameter(torch.zeros(CLASSES, dtype=torch.complex64))

    def forward(self, x):
        return super().forward(x) * self.phase.exp().real


class SharesMemory(Module):
    def add(self):
        self.other = nn.Parameter(self.layer.weight.detach())

    def forward(self, x):
        return super().forward(x) + functional.linear(x.flatten(1), self.other)


Output = namedtuple("Output", "logits hidden")


class AnswersWithAPair(Module):
    def forward(self, x):
        return Output(super().forward(x), x)


class AnswersWithADictionary(Module):
    def forward(self, x):
        return {"logits": super().forward(x)}


class HasAnotherHeadInTraining(Module):
    def forward(self, x):
        logits = super().forward(x)
        return (logits, logits) if self.training else logits


class TakesTwo(Module):
    def forward(self, x, mask):
        return super().forward(x)


def unused_lazy() -> nn.Module:
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, CLASSES))
    module.spare = nn.LazyLinear(3)
    module.forward = lambda x: module[1](module[0](x))
    return module


REFUSED = {
    "batch norm": (
        lambda: flat(nn.BatchNorm1d(64), nn.Linear(64, CLASSES)),
        r"BatchNorm1d `1` changes its running statistics .*`\.eval\(\)`, .*models\.with_group_norm",
    ),
    "instance norm": (
        lambda: nn.Sequential(nn.InstanceNorm2d(1, track_running_stats=True), flat(nn.Linear(64, CLASSES))),
        "InstanceNorm2d `0` changes its running statistics",
    ),
    "spectral norm": (
        lambda: flat(parametrizations.spectral_norm(nn.Linear(64, CLASSES))),
        r"_SpectralNorm changes its buffer `1\.parametrizations\.weight\.0\._[uv]`: expected a constant",
    ),
    "counter": (Counts, "of Counts changes its attribute `calls`: expected no hidden state"),
    "counting buffer": (CountsInABuffer, "of CountsInABuffer changes its buffer `calls`"),
    "hidden counter": (CountsElsewhere, "two passes from one seed differ: expected no state"),
    "own generator": (HasItsOwnGenerator, "changes its attribute `generator`"),
    "system's randomness": (AsksTheSystem, "two passes from one seed differ: expected no state, and random"),
    "freezing": (Freezes, r"changes whether `first\.bias` trains"),
    "weights changed": (ScalesItsWeights, r"of Embedding changes its parameter `levels\.weight`"),
    "no gradient": (IsCut, "expected logits of trained parameters"),
    "complex": (IsComplex, r"`phase` is torch\.complex64, expected floating-point"),
    "shared memory": (SharesMemory, r"`layer\.weight` shares its memory with `other`"),
    "no numbers": (lambda: flat(nn.Linear(64, CLASSES, device="meta")), r"`1\.weight` is on the meta device"),
    "pair": (AnswersWithAPair, r"expected floating-point logits of shape \[2, 10\], found Output"),
    "dictionary": (AnswersWithADictionary, "expected floating-point logits .*, found dict"),
    "two heads": (HasAnotherHeadInTraining, "expected floating-point logits .*, found tuple"),
    "two inputs": (TakesTwo, "fails: TypeError: .*mask"),
    "lazy and wrong": (
        lambda: nn.Sequential(nn.LazyConv3d(4, 9), nn.LazyLinear(CLASSES)),
        "lazy layers.*fails",
    ),
    "lazy and unused": (unused_lazy, "`spare.weight` is lazy"),
}


def build(input_shape, classes, name):
    return TRAINS[name]() if name in TRAINS else REFUSED[name][0]()
