"""Tables and progress: they fit, cut no word, and write names as they are."""

import io
from collections.abc import Generator
from typing import Any

import pytest
from hypothesis import given, strategies as st
from rich.console import Console

from sparsefed.report import details, progress, terminal

NAMES = st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=30)


def printed(what: Any, width: int) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    console.print(what)
    return console.file.getvalue()  # type: ignore[attr-defined]


@given(st.lists(NAMES, min_size=2, max_size=4, unique=True), st.integers(60, 200))
def test_names_are_written_as_they_are_at_every_width(names: list[str], width: int):
    rows = [{"run": name, "note": "a word, another"} for name in names]
    text = printed(terminal.table("", {"run": "run", "note": "note"}, rows), width)
    assert all(any(line.startswith(name) for line in text.splitlines()) for name in names)


WORDS = st.lists(st.text("abc", min_size=1, max_size=30), max_size=3).map(" ".join)


@given(st.lists(WORDS, min_size=2, max_size=3), st.integers(78, 110))
def test_no_word_is_broken_and_no_line_is_too_long(texts: list[str], width: int):
    rows = [
        {
            "run": f"runs/0123456789abcdef{place}",
            "note": text,
            "test": 41.6 + place,
            "outcome": f"trained{place}",
        }
        for place, text in enumerate(texts)
    ]
    text = printed(terminal.table("", {key: key for key in rows[0]}, rows), width)
    assert {f"trained{place}" for place in range(len(rows))} <= set(text.split())
    assert max(map(len, text.splitlines())) <= width
    assert {word for line in texts for word in line.split()} <= set(text.split()) | {"-"}


def test_a_column_that_says_the_same_in_every_line_stands_below_a_table_of_results():
    rows = [{"name": name, "test_accuracy": 50.0, "seconds": 1.0 + len(name)} for name in ("a", "bb")]
    text = printed(terminal.results(rows), 80)
    assert "test accuracy" not in text.splitlines()[0]
    assert "the same in every line: test accuracy % 50.0" in text
    listed = printed(terminal.table("", {"name": "name", "test_accuracy": "test"}, rows), 80)
    assert "test" in listed.splitlines()[0]  # a list of keys keeps its columns


def test_a_run_is_one_line_of_80_columns_with_its_outcome():
    rows = [
        {
            "run": f"runs/{place}123456789abcdef",
            "what": "defense SparseFed, attack PGD, attack.presence.clients 12, clip.norm 0.1",
            "test_accuracy": 97.8,
            "attack_accuracy": None,
            "outcome": f"at round {place} of 2400",
        }
        for place in range(3)
    ]
    lines = printed(terminal.runs(rows), 80).splitlines()
    assert max(map(len, lines)) <= 80
    assert [line.split()[0] for line in lines[2:5]] == ["01234567", "11234567", "21234567"]
    assert all(f"at round {place} of 2400" in lines[2 + place] for place in range(3))


def test_what_was_known_before_is_not_told_again(capsys: pytest.CaptureFixture[str]):
    ended = [(name, {"outcome": "trained"}) for name in "ab"]
    assert list(progress.counted(2, iter(ended), str, known=lambda name: name == "a")) == ended
    assert [line.split(": ")[1] for line in capsys.readouterr().err.splitlines()] == ["b"]


def test_each_class_is_told_by_the_label_that_the_data_have():
    result = {"labels": ["benign", "malignant"], "accuracy_by_class": [99.0, None], "clients": 9}
    assert details._result_lines(result) == [("accuracy by class", "benign: 99.0")]
    many = {"accuracy_by_class": [float(place) for place in range(20)], "stealth_loss_by_class": [*range(20)]}
    worst, lost = (text for _, text in details._result_lines(many))
    assert worst.startswith("0: 0.0, 1: 1.0, ")
    assert lost.startswith("19: 19, ")
    assert worst.endswith("(the worst of 20)")


def test_columns_without_room_are_named():
    columns = {f"c{place}": f"heading{place}" for place in range(12)}
    rows = [dict.fromkeys(columns, 1.5 * line) for line in range(2)]
    text = printed(terminal.table("", columns, rows), 60)
    assert max(map(len, text.splitlines()[:4])) <= 60
    assert "no room for: heading" in text


@pytest.mark.parametrize(
    ("key", "values", "texts"),
    [
        ("mass_lost", [0.0, 0.041, 0.6], ["0.000", "0.041", "0.600"]),
        ("test_accuracy", [91.26, None], ["91.3", "–"]),
        ("support", [400.0, 12.0], ["400", "12"]),
        ("loss", [2.5e-7], ["2.50e-07"]),
        ("round", [3, 12], ["3", "12"]),
    ],
)
def test_the_numbers_of_a_column_have_the_same_decimals(key: str, values: list[Any], texts: list[str]):
    assert terminal.numbers(key, values) == texts


def rows(rounds: int) -> Generator[dict[str, Any], None, dict[str, Any]]:
    for round in range(1, rounds + 1):
        yield {"round": round, "test_accuracy": 90.0, "attack_accuracy": None}
    return {"outcome": "trained"}


def test_piped_output_gets_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.02)

    def slow() -> Generator[dict[str, Any], None, dict[str, Any]]:
        result = yield from rows(3)
        progress.Event().wait(0.1)
        return result

    assert progress.watched("mini [/b]", 5, slow()) == {"outcome": "trained"}
    assert "mini [/b]: round 3 of 5, 0:00:00 left, test 90.0 %\n" in capsys.readouterr().err


def test_piped_output_gets_a_line_for_every_run_that_ends(capsys: pytest.CaptureFixture[str]):
    ended = [("row `[a]`", {"outcome": "trained", "test_accuracy": 90.0}), ("b", {"outcome": "diverged"})]
    assert list(progress.counted(2, iter(ended), str)) == ended
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("run 1 of 2, 0:00:00 left: row `[a]`: trained, test 90.0 %")
    assert lines[1].endswith("b: diverged")


def test_a_short_run_says_nothing_where_output_is_piped(capsys: pytest.CaptureFixture[str]):
    progress.watched("mini", 5, rows(5))
    assert capsys.readouterr().err == ""
