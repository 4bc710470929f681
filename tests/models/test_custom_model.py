"""A model of the user's own: a subclass or a plain function, named by where it can be imported."""

import pytest
import torch
from torch import nn

from sparsefed.errors import SpecError
from sparsefed.models import MLP, Model
from sparsefed.models.custom import Custom
from sparsefed.spec import Spec

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


def build_with_batch_norm(input_shape, classes):
    return nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), nn.Linear(64, classes))


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
        ({"type": f"{HERE}:nowhere"}, "`model`: cannot load .*nowhere"),
        ({"type": "no_such_module:build"}, "`model`: cannot load .*No module named"),
        ({"type": ":build"}, "`model`: cannot load"),
        ({"type": f"{HERE}:HERE"}, "`model`: .*is not a Model"),
        ({"type": f"{HERE}:Holder"}, "`model`: .*Holder` is not a Model"),
        ({"type": f"{HERE}:build", "depth": 3}, r"`model`: .*build` cannot take .*'depth'"),
        ({"type": "Custom", "function": f"{HERE}:build", "options": {"depth": 3}}, "cannot take .*'depth'"),
        ({"type": "Custom", "function": f"{HERE}:HERE"}, "HERE` is not a function"),
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

    with pytest.raises(SpecError, match=r"Other: `rule`: .*build` is not a Rule"):
        Other(rule={"type": f"{HERE}:build"})


def test_a_function_must_return_a_module():
    with pytest.raises(SpecError, match=r"build_a_number` must return a torch.nn.Module, got int"):
        Custom(function=f"{HERE}:build_a_number").network((64,), 10, seed=0)


def test_a_model_with_running_statistics_is_refused():
    with pytest.raises(SpecError, match=r"buffer `1.running_mean`: need all state in the parameters"):
        Custom(function=f"{HERE}:build_with_batch_norm").network((64,), 10, seed=0)


def test_the_projects_own_models_are_named_without_their_module():
    assert MLP().to_dict()["type"] == "MLP"
