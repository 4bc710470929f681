"""A model of the user's own: a subclass or a plain function, named by where it can be imported."""

import numpy as np
import pytest
import small
import torch
from torch import nn

from sparsefed.core.errors import SpecError
from sparsefed.core.spec import Spec
from sparsefed.data import IID, Npz
from sparsefed.federation.round import Federation
from sparsefed.models import MLP, Linear, Model
from sparsefed.models.custom import Custom

HERE = __name__


class Holder(Spec):
    """A spec with a model in it, as an experiment is."""

    model: Model


class Mine(Model):
    """A member of the user's own."""

    def build(self, input_shape, classes):
        return nn.Sequential(nn.Flatten(), nn.Linear(64, classes))


def build(input_shape, classes, units=3):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, units), nn.Linear(units, classes))


def build_by_dividing(input_shape, classes):
    return 1 // (classes - classes)


def build_a_number(input_shape, classes):
    return classes


def test_a_plain_function_is_a_model():
    model = Holder(model={"type": f"{HERE}:build", "units": 5}).model
    assert model == Custom(function=f"{HERE}:build", options={"units": 5})
    assert model.network((1, 8, 8), 10, seed=0).size == 65 * 5 + 6 * 10


def test_a_function_and_a_class_survive_their_own_dictionaries():
    for name in ("build", "Mine"):
        holder = Holder(model={"type": f"{HERE}:{name}"})
        again = Holder(**holder.to_dict())
        assert again == holder
        assert again.digest() == holder.digest()


def test_a_function_starts_from_the_seed_like_every_model():
    model = Custom(function=f"{HERE}:build")
    first = model.network((64,), 10, seed=1).vector()
    torch.rand(3)
    assert torch.equal(model.network((64,), 10, seed=1).vector(), first)
    assert not torch.equal(model.network((64,), 10, seed=2).vector(), first)


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"type": f"{HERE}:nowhere"}, "`model.type`: cannot load .*nowhere"),
        (
            {"type": "no_such_module:build"},
            "`model.type`: cannot load .*a module `no_such_module`, found none",
        ),
        ({"type": ":build"}, "`model.type`: cannot load"),
        (
            {"type": f"{HERE}:HERE"},
            "`model.type`: expected a function or a class that extends `Model`, found the value",
        ),
        ({"type": f"{HERE}:Holder"}, "`model.type`: expected .*, found the class `.*Holder`"),
        ({"type": f"{HERE}:build", "depth": 3}, r"`model`: .*build` cannot take .*'depth'"),
        ({"type": "Custom", "function": f"{HERE}:build", "options": {"depth": 3}}, "cannot take .*'depth'"),
        (
            {"type": "Custom", "function": f"{HERE}:HERE"},
            "expected a function, found `.*HERE`",
        ),
        ({"type": "Custom", "function": f"{HERE}:nowhere"}, "`model`: cannot load .*nowhere"),
    ],
)
def test_a_model_that_cannot_be_found_or_called_is_one_clear_line(given, complaint):
    with pytest.raises(SpecError, match=complaint) as caught:
        Holder(model=given)
    assert "\n" not in str(caught.value)


def test_a_family_that_takes_no_functions_refuses_one():
    class Rule(Spec, family=True):
        """A family without a member for functions."""

    class Other(Spec):
        rule: Rule

    with pytest.raises(SpecError, match=r"Other: `rule.type`: expected a class .*found .*build`"):
        Other(rule={"type": f"{HERE}:build"})


def test_a_function_must_return_a_module():
    with pytest.raises(SpecError, match=r"build_a_number`: expected a torch.nn.Module, found an int"):
        Custom(function=f"{HERE}:build_a_number").network((64,), 10, seed=0)


def test_a_file_that_an_option_names_is_one_that_the_run_depends_on(tmp_path):
    (tmp_path / "weights.pt").write_bytes(b"1")
    model = Custom(function=f"{HERE}:build_bad", options={"kind": str(tmp_path / "weights.pt")})
    assert tmp_path / "weights.pt" in model.sources().values()
    assert Custom(function=f"{HERE}:build_bad", options={"kind": "few"}).sources().keys() == {
        name for name in model.sources() if not name.endswith("weights.pt")
    }


def test_the_projects_own_models_are_named_without_their_module():
    assert MLP().to_dict()["type"] == "MLP"


class Pair(nn.Linear):
    """Answers with a tuple."""

    def forward(self, x):
        return super().forward(x.flatten(1)), 1


class Noisy(nn.Module):
    """Draws random numbers, in evaluation too; one part of it never trains with dropout."""

    def __init__(self, classes):
        super().__init__()
        self.quiet = nn.Sequential(nn.Dropout(), nn.Flatten(), nn.Linear(64, classes)).eval()

    def forward(self, x):
        return self.quiet(x) + torch.rand(1)


def build_bad(input_shape, classes, kind):
    return {
        "few": nn.Sequential(nn.Flatten(), nn.Linear(64, classes - 2)),
        "pair": Pair(64, classes),
        "empty": nn.Flatten(),
        "frozen": nn.Linear(64, classes).requires_grad_(False),
        "narrow": nn.Sequential(nn.Flatten(), nn.Linear(63, classes)),
        "pixels": nn.Linear(8, classes),
        "noisy": Noisy(classes),
    }[kind]


@pytest.mark.parametrize(
    ("kind", "complaint"),
    [
        ("few", r"build_bad.*: expected floating-point logits of shape \[2, 10\], found .* \[2, 8\]"),
        ("pair", r"build_bad.*: expected floating-point logits of shape \[2, 10\], found tuple"),
        ("empty", "Flatten: expected at least 1 parameter that trains, found none"),
        ("frozen", "Linear: expected at least 1 parameter that trains, found none"),
        ("narrow", r"build_bad.* given inputs of shape \[2, 1, 8, 8\] fails: RuntimeError: mat1 and mat2"),
        ("pixels", r"expected .* \[2, 10\], found torch.float32 of shape \[2, 1, 8, 10\]"),
    ],
)
def test_a_module_that_cannot_be_trained_is_one_clear_line(kind, complaint):
    spec = small.experiment(model={"type": f"{HERE}:build_bad", "kind": kind})
    with pytest.raises(SpecError, match=complaint) as caught:
        Federation.of(spec)
    assert "\n" not in str(caught.value)


def test_checking_a_module_changes_neither_it_nor_the_global_generator():
    before = torch.get_rng_state()
    fed = Federation.of(small.experiment(model={"type": f"{HERE}:build_bad", "kind": "noisy"}))
    assert torch.equal(torch.get_rng_state(), before)
    assert fed.network.module.training
    assert not any(module.training for module in fed.network.module.quiet.modules())


@pytest.mark.parametrize("model", [Linear(), MLP(hidden=(4,))])
def test_a_model_of_numbers_given_tokens_is_one_clear_line(tmp_path, model):
    tokens = np.arange(6).reshape(3, 2)
    np.savez(tmp_path / "own.npz", x_train=tokens, y_train=tokens, x_test=tokens, y_test=tokens)
    data, partition = Npz(path=tmp_path / "own.npz"), IID(clients=3)
    with pytest.raises(SpecError, match=r"given tokens of shape \[2, 2\] fails: .*same dtype") as caught:
        Federation.of(small.experiment(data=data, partition=partition, model=model, cohort=1))
    assert "\n" not in str(caught.value)


def test_a_function_that_fails_is_one_line_that_names_the_place():
    with pytest.raises(SpecError, match=r"fails: ZeroDivisionError in test_custom_model.py, line \d+: "):
        Custom(function=f"{HERE}:build_by_dividing").network((1, 8, 8), 10, seed=0)


def test_a_file_in_place_of_a_module_is_told_how_to_be_written():
    with pytest.raises(SpecError, match=r"expected `module:name`, .*; did you mean `mine:build`\?"):
        Custom(function="mine.py:build")
