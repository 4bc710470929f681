"""A complaint names the file or the `--set`, and the key, whenever it comes up."""

import pickle
from pathlib import Path
from typing import Any

import pytest
import small
import tomli_w

import sparsefed as sf
from sparsefed.federation.experiment import read_experiment

ATTACK = {
    "objective": {"type": "Targeted", "points": 5},
    "presence": {"type": "Pool", "clients": 2},
    "method": {"type": "PGD"},
}
WRONG = [
    ("cohort=5000", "cohort", "expected at most the"),
    ("data={type='Npz', path='none.npz'}", "data", "no such file"),
    ("partition.per_client=9999", "partition", "expected 999,900 examples"),
    ("partition={type='Natural'}", "partition", "expected the user of each example"),
    ("model={type='LSTM'}", "model", "tokens"),
    ("defense.k=999999", "defense.k", "expected at most the model's"),
    ("defense={type='Krum', f=40}", "defense", "expected at least 83 updates"),
    ("attack.presence.clients=5000", "attack.presence.clients", "expected 1 to"),
    ("attack.presence={type='FixedPerRound', count=50}", "attack.presence.count", "expected fewer than"),
    ("attack.objective.points=501", "attack.objective.points", "expected at most the 500 points"),
    (
        "attack.objective={type='SemanticBackdoor', source=1, target=12}",
        "attack.objective.target",
        "one of 0, 1, 2",
    ),
    (
        "attack.method={type='CoordinateAware', coordinates=999999}",
        "attack.method.coordinates",
        "expected at most the model's",
    ),
]


def written(path: Path, **changes: Any) -> Path:
    tree = small.experiment(attack=ATTACK).to_dict() | changes
    path.write_text(tomli_w.dumps(_without_nothing(tree)))
    return path


def _without_nothing(tree: Any) -> Any:
    if not isinstance(tree, dict):
        return tree
    return {key: _without_nothing(value) for key, value in tree.items() if value is not None}


@pytest.mark.parametrize(("change", "key", "why"), WRONG)
def test_what_only_the_data_or_the_model_tell_names_the_typed_change(
    tmp_path: Path, change: str, key: str, why: str
):
    experiment = read_experiment(written(tmp_path / "e.toml"), [change])
    with pytest.raises(sf.SparseFedError, match=why) as caught:
        sf.simulate(experiment)
    assert str(caught.value).startswith(f"--set {change}: `{key}`: ")


@pytest.mark.parametrize("changes", [{"cohort": 5000}, {"data": {"type": "Npz", "path": "none.npz"}}])
def test_what_the_file_says_wrong_names_the_file_also_in_another_process(
    tmp_path: Path, changes: dict[str, Any]
):
    path = written(tmp_path / "e.toml", **changes)
    with pytest.raises(sf.SparseFedError) as caught:
        sf.simulate(pickle.loads(pickle.dumps(read_experiment(path))))
    assert str(caught.value).startswith(f"{path}: `{next(iter(changes))}`: ")


def test_an_experiment_made_in_python_names_the_key():
    with pytest.raises(sf.SpecError, match=r"^`cohort`: expected at most"):
        sf.simulate(small.experiment(cohort=5000))


def test_where_an_experiment_was_written_is_no_part_of_it(tmp_path: Path):
    read = read_experiment(written(tmp_path / "e.toml"))
    made = small.experiment(attack=ATTACK)
    assert read == made
    assert (read.digest(), repr(read), read.to_dict()) == (made.digest(), repr(made), made.to_dict())
    assert hash(read.defense) == hash(made.defense)


def test_half_an_expression_is_no_text(tmp_path: Path):
    path = written(tmp_path / "e.toml")
    for text in ("[1,2", "{type='PGD'", "'half", '"half'):
        with pytest.raises(sf.SpecError, match=r"^--set model.hidden=.* expected TOML, .* does not end"):
            read_experiment(path, [f"model.hidden={text}"])
