"""A run's folder: resumable at any moment, idempotent, and clear about what is wrong with it."""

import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small
import torch
from hypothesis import given, strategies as st

import sparsefed as sf
from sparsefed.core import files
from sparsefed.report.history import past_runs
from sparsefed.runs.record import Record, find_record, refuse_stale
from sparsefed.runs.seals import UNSEALED, intact, sealed
from sparsefed.runs.sources import own_files

SPEC = small.experiment(rounds=12, attack=small.attack(), twin=True)


def final_state(runs: Path, spec: sf.Experiment = SPEC) -> bytes:
    return (Record(runs, spec).folder / "state.safetensors").read_bytes()


def without_seconds(value: Any) -> Any:
    return {key: item for key, item in value.items() if not ("seconds" in key or key == "environment")}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run, never stopped."""
    runs = tmp_path_factory.mktemp("whole")
    sf.simulate(SPEC, runs)
    return runs


@pytest.mark.parametrize("stop", [1, 4, 11])
def test_resuming_equals_never_stopping_bit_for_bit(tmp_path: Path, whole: Path, stop: int):
    rows = sf.play(SPEC, tmp_path)
    for _ in range(stop):
        next(rows)
    rows.close()
    assert find_record(Record(tmp_path, SPEC).folder).result is None
    result = sf.simulate(SPEC, tmp_path)
    assert final_state(tmp_path) == final_state(whole)
    assert without_seconds(result) == without_seconds(sf.simulate(SPEC, whole))
    mine, theirs = (Record(runs, SPEC).rows() for runs in (tmp_path, whole))
    assert [without_seconds(row) for row in mine] == [without_seconds(row) for row in theirs]


def test_a_run_killed_at_a_random_moment_ends_as_if_never_stopped(tmp_path: Path, whole: Path):
    script = (
        "import sys, sparsefed as sf\n"
        "sys.modules['sparsefed.runs.simulate'].SECONDS_BETWEEN_CHECKPOINTS = 0.0\n"
        f"import torch\ntorch.set_num_threads({torch.get_num_threads()})\n"
        "from test_record import SPEC\n"
        f"sf.simulate(SPEC, {str(tmp_path)!r})\n"
    )
    chance = random.Random(0)
    for _ in range(3):
        process = subprocess.Popen([sys.executable, "-c", script], cwd=Path(__file__).parent)
        rounds = Record(tmp_path, SPEC).folder / "rounds.jsonl"
        deadline = time.monotonic() + 60
        while not rounds.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(chance.uniform(0, 0.3))
        process.send_signal(signal.SIGKILL)
        process.wait()
    sf.simulate(SPEC, tmp_path)
    assert final_state(tmp_path) == final_state(whole)


def test_a_finished_run_is_read_and_not_repeated(whole: Path, monkeypatch: pytest.MonkeyPatch):
    def nothing(*_: Any) -> None:
        raise AssertionError("the run was repeated")

    monkeypatch.setattr(sys.modules["sparsefed.runs.simulate"], "run_round", nothing)
    assert sf.simulate(SPEC, whole)["rounds"] == 12


def test_rows_after_the_checkpoint_do_not_count(tmp_path: Path, whole: Path):
    rows = sf.play(SPEC, tmp_path)
    for _ in range(5):
        next(rows)
    rows.close()
    with (Record(tmp_path, SPEC).folder / "rounds.jsonl").open("a") as file:
        file.write('{"round": 6, "lr": 0.1}\n{"round": 7, "l')
    sf.simulate(SPEC, tmp_path)
    assert final_state(tmp_path) == final_state(whole)
    assert [row["round"] for row in Record(tmp_path, SPEC).rows()] == list(range(1, 13))


def stopped(runs: Path) -> Path:
    rows = sf.play(SPEC, runs)
    for _ in range(3):
        next(rows)
    rows.close()
    return Record(runs, SPEC).folder


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("state.safetensors", None, "state.safetensors: damaged: expected a whole checkpoint"),
        (
            "rounds.jsonl",
            b'{"round": 1}\n',
            "damaged: expected a whole row for each of 3 rounds",
        ),
        ("spec.json", b"{", "spec.json: damaged: expected JSON"),
        ("spec.json", b'{"format": 99}', "expected a run of format 2, found format 99"),
    ],
)
def test_a_damaged_folder_is_named_and_left_as_it_is(
    tmp_path: Path, name: str, content: bytes | None, complaint: str
):
    path = stopped(tmp_path) / name
    path.write_bytes(path.read_bytes()[:-50] if content is None else content)
    before = {file.name: file.read_bytes() for file in path.parent.iterdir()}
    with pytest.raises(sf.RunError) as caught:
        sf.simulate(SPEC, tmp_path)
    assert complaint in str(caught.value)
    assert {file.name: file.read_bytes() for file in path.parent.iterdir()} == before


def test_a_half_written_folder_is_named(tmp_path: Path):
    folder = stopped(tmp_path)
    (folder / "spec.json").unlink()
    with pytest.raises(sf.RunError, match=r"half-written, without a spec\.json"):
        sf.simulate(SPEC, tmp_path)


def test_a_folder_in_use_is_refused(tmp_path: Path):
    rows = sf.play(SPEC, tmp_path)
    next(rows)
    with pytest.raises(sf.RunError, match="already in use by another run"):
        sf.simulate(SPEC, tmp_path)
    rows.close()
    assert sf.simulate(SPEC, tmp_path)["rounds"] == 12


def test_a_full_disk_is_one_line_and_loses_nothing(
    tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = stopped(tmp_path)
    before = {file.name: file.read_bytes() for file in folder.iterdir()}

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "fsync", full)
        with pytest.raises(sf.RunError, match="cannot be written: No space left on device"):
            sf.simulate(SPEC, tmp_path)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
    sf.simulate(SPEC, tmp_path)
    assert final_state(tmp_path) == final_state(whole)


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path):
    (tmp_path / "runs").write_text("a file, not a folder")
    with pytest.raises(sf.RunError, match="cannot be written: Not a directory"):
        sf.simulate(SPEC, tmp_path / "runs")


def test_every_row_and_the_result_are_strict_json(whole: Path):
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    folder = Record(whole, SPEC).folder
    for line in (folder / "rounds.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=refuse)
    json.loads((folder / "result.json").read_text(), parse_constant=refuse)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("result.json", b"{}"),
        ("result.json", b"[]"),
        ("spec.json", b'{"format": 2}'),
        ("spec.json", b'{"format": 2, "experiment": 3}'),
    ],
)
def test_one_damaged_folder_is_named_and_spoils_no_list(tmp_path: Path, name: str, content: bytes):
    folder = stopped(tmp_path)
    sf.simulate(small.experiment(rounds=2), tmp_path)
    (folder / name).write_bytes(content)
    assert sorted(row["outcome"] == "unreadable" for row in past_runs(tmp_path)) == [False, True]
    with pytest.raises(sf.RunError, match=rf"{name}: damaged: expected .*; `--fresh` starts this run over"):
        looked_at(folder)


def looked_at(folder: Path) -> tuple[Any, Any]:
    record = find_record(folder)
    return record.result, record.rows()


def test_rows_that_are_no_text_count_like_a_torn_line(tmp_path: Path, whole: Path):
    with (stopped(tmp_path) / "rounds.jsonl").open("ab") as file:
        file.write(b"\xff\xfe\n")
    sf.simulate(SPEC, tmp_path)
    assert final_state(tmp_path) == final_state(whole)


def test_a_folder_of_runs_is_not_a_run(tmp_path: Path):
    folder = stopped(tmp_path)
    with pytest.raises(sf.RunError, match=f"no such run; expected one of the runs in it, such as {folder}"):
        find_record(tmp_path)
    assert past_runs(tmp_path / "nowhere") == []


def test_other_data_behind_the_same_name_is_not_the_same_run(tmp_path: Path):
    path, runs = tmp_path / "mine.npz", tmp_path / "runs"
    spec = small.experiment(data=sf.data.Npz(path=path), partition=sf.data.IID(clients=20), rounds=2)
    write_npz(path, seed=0)
    first = sf.simulate(spec, runs)
    assert sf.simulate(spec, runs) == first
    write_npz(path, seed=1)
    with pytest.raises(sf.RunError, match=r"`mine.npz` of Npz changed since this run was made: .*--fresh"):
        sf.simulate(spec, runs)
    assert sf.simulate(spec, tmp_path / "others")["loss"] != first["loss"]


def write_npz(path: Path, seed: int) -> None:
    draw = np.random.default_rng(seed)
    x, y = draw.normal(size=(200, 5)).astype(np.float32), draw.integers(0, 3, 200)
    np.savez(path, x_train=x, y_train=y, x_test=x[:50], y_test=y[:50])


@pytest.mark.parametrize("kind", ["class", "function"])
def test_changed_code_behind_the_same_name_is_not_the_same_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
):
    monkeypatch.syspath_prepend(tmp_path)
    module = tmp_path / f"mine_{kind}.py"
    module.write_text(
        "import sparsefed as sf, torch\n"
        "class Rule(sf.Mean): pass\n"
        "def build(shape, classes):\n"
        "    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, classes))\n"
    )
    part = (
        {"defense": {"type": "mine_class:Rule"}}
        if kind == "class"
        else {"model": {"type": "mine_function:build"}}
    )
    spec = small.experiment(rounds=2, **part)
    assert own_files(spec).keys() == {"mine_class:Rule" if kind == "class" else "Custom"}
    sf.simulate(spec, tmp_path / "runs")
    first = sf.simulate(spec, tmp_path / "runs")
    module.write_text(module.read_text().replace(" pass", "  pass") + "# a comment\n")
    assert sf.simulate(spec, tmp_path / "runs") == first
    module.write_text(module.read_text() + "changed = True\n")
    with pytest.raises(sf.RunError, match=rf"`mine_{kind}.py` of .* changed since this run was made"):
        sf.simulate(spec, tmp_path / "runs")
    assert sf.simulate(spec, tmp_path / "runs", fresh=True)["rounds"] == 2


def test_our_own_parts_are_no_files_of_the_user():
    assert own_files(SPEC) == {}


def flipped(path: Path, bit: int) -> None:
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


@pytest.mark.parametrize("name", ["state.safetensors", "rounds.jsonl", "spec.json"])
@pytest.mark.parametrize("place", [0.01, 0.3, 0.6, 0.97])
def test_one_flipped_bit_of_a_stopped_run_is_noticed(tmp_path: Path, name: str, place: float):
    path = stopped(tmp_path) / name
    flipped(path, int(8 * path.stat().st_size * place) + 3)
    with pytest.raises(sf.RunError, match=r"damaged|expected a run of format 2"):
        sf.simulate(SPEC, tmp_path)
    assert sf.simulate(SPEC, tmp_path, fresh=True)["rounds"] == 12


@given(content=st.binary(max_size=300), bit=st.integers(0))
def test_a_sealed_content_is_intact_until_any_bit_of_it_is_flipped(content: bytes, bit: int):
    whole = bytearray(sealed(b'{"checksum": "%s"}' % UNSEALED.encode() + content))
    assert intact(bytes(whole))
    whole[bit // 8 % len(whole)] ^= 1 << bit % 8
    assert not intact(bytes(whole))


def test_one_flipped_bit_of_a_finished_run_is_noticed(whole: Path, tmp_path: Path):
    folder = shutil.copytree(Record(whole, SPEC).folder, tmp_path / "run")
    for name in ("result.json", "rounds.jsonl"):
        path = folder / name
        before = path.read_bytes()
        flipped(path, 4 * len(before))
        with pytest.raises(sf.RunError, match=f"{name}: damaged"):
            looked_at(folder)
        path.write_bytes(before)


def test_a_folder_without_a_finished_round_is_replaced_without_a_question(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_rule.py").write_text("import sparsefed as sf\nclass Rule(sf.Mean): pass\n")
    spec = small.experiment(rounds=2, defense={"type": "own_rule:Rule"})
    folder = Record(tmp_path / "runs", spec).folder
    folder.mkdir(parents=True)
    (folder / "spec.json").write_text('{"format": 1, "files": {"own_rule:Rule": "other"}}')
    assert sf.simulate(spec, tmp_path / "runs")["rounds"] == 2


def test_all_runs_made_with_a_changed_module_are_named_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_helper.py").write_text("FACTOR = 1\n")
    (tmp_path / "own_rules.py").write_text("import sparsefed as sf, own_helper\nclass Rule(sf.Mean): pass\n")
    specs = [small.experiment(seed=seed, rounds=1, defense={"type": "own_rules:Rule"}) for seed in (1, 2)]
    for spec in specs:
        sf.simulate(spec, tmp_path / "runs")
    (tmp_path / "own_helper.py").write_text("FACTOR = 2\n")
    records = [Record(tmp_path / "runs", spec) for spec in specs]
    with pytest.raises(sf.RunError) as caught:
        refuse_stale(records)
    assert "`own_helper.py` of own_rules:Rule changed since these runs were made" in str(caught.value)
    assert all(str(record.folder) in str(caught.value) for record in records)


def test_a_run_whose_data_are_missing_leaves_no_folder(tmp_path: Path):
    spec = small.experiment(data=sf.data.Npz(path=tmp_path / "none.npz"))
    with pytest.raises(sf.DataError):
        sf.simulate(spec, tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_a_finished_run_is_shown_without_its_data(tmp_path: Path):
    path = tmp_path / "mine.npz"
    write_npz(path, seed=0)
    spec = small.experiment(data=sf.data.Npz(path=path), partition=sf.data.IID(clients=20), rounds=2)
    first = sf.simulate(spec, tmp_path / "runs")
    path.unlink()
    assert sf.simulate(spec, tmp_path / "runs") == first


def test_a_run_is_found_by_the_start_of_its_name(whole: Path, tmp_path: Path):
    folder = Record(whole, SPEC).folder
    assert find_record(Path(folder.name[:5]), whole).folder == folder
    with pytest.raises(sf.RunError, match="zzz: no such run"):
        find_record(Path("zzz"), whole)
    shutil.copytree(folder, tmp_path / "a1")
    shutil.copytree(folder, tmp_path / "a2")
    with pytest.raises(sf.RunError, match="expected the start of one run's name, found 2"):
        find_record(Path("a"), tmp_path)


def test_every_stretch_says_with_how_many_threads_it_was_made(tmp_path: Path):
    spec = small.experiment(rounds=4)
    rows = sf.play(spec, tmp_path, threads=1)
    next(rows)
    rows.close()
    result = sf.simulate(spec, tmp_path, threads=2)
    assert [(part["from_round"], part["threads"]) for part in result["stretches"]] == [(1, 1), (2, 2)]
    assert result["environment"]["threads"] == 2
