"""Tables: cells merge as the docs say, what makes no sense is refused before it runs, JSON has every seed."""

import re
from pathlib import Path

import pytest
import small

import sparsefed as sf
from sparsefed.attacks import FixedPerRound
from sparsefed.defenses import GaussianNoise
from sparsefed.report.markdown import table_page
from sparsefed.runs.simulate import METRICS
from sparsefed.runs.tables import Table, read_table, summary

ROOT = Path(__file__).parents[1]
TEXT = """
title = "t"
seeds = [0, 1]
metrics = ["test_accuracy", "attack_accuracy"]
[base]
rounds = 3
cohort = 5
data = { type = "Digits" }
partition = { type = "OneClass", clients = 50 }
model = { type = "Linear" }
schedule = { type = "Constant", value = 0.1 }
defense = { type = "Mean", momentum = 0.9 }
attack.objective = { type = "Targeted", points = 10 }
attack.presence = { type = "Pool", fraction = 0.1 }
attack.method = { type = "PGD", epochs = 5 }
[columns.left]
[columns.right]
cohort = 6
[rows.one]
"""


def read(folder: Path, text: str) -> Table:
    (folder / "t.toml").write_text(text)
    return read_table(folder / "t.toml")


def test_the_table_on_the_page_about_tables_reads_and_merges_as_the_page_says(tmp_path: Path):
    page = (ROOT / "docs" / "tables.md").read_text()
    table = read(tmp_path, re.findall(r"```toml\n(.*?)```", page, re.DOTALL)[0])
    cells = {(cell.row, cell.column): cell.experiment for cell in table.cells() if cell.experiment.seed == 0}
    assert len(list(table.cells())) == 3 * 2 * 3
    clips = [cells["Mean", column].clip for column in table.columns]
    assert clips == [sf.FixedClip(norm=5.0), sf.FixedClip(norm=1.0)]
    assert cells["no attack", "L = 5"].attack is None
    assert cells["Mean", "L = 5"].defense == sf.Mean(momentum=0.9)
    assert cells["SparseFed", "L = 5"].defense == sf.SparseFed(k=100)
    assert cells["SparseFed", "L = 1"].attack == cells["Mean", "L = 5"].attack is not None


@pytest.mark.parametrize("path", sorted(ROOT.glob("examples/tables/*.toml")), ids=lambda path: path.stem)
def test_every_cell_of_a_published_table_is_an_experiment_of_its_own(path: Path):
    cells = list(read_table(path).cells())
    assert len({cell.experiment.digest() for cell in cells}) == len(cells)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        (
            "[rows.one]",
            "[rows.one]\nwithout = 'attack'",
            "`rows.one.without`: expected a list.*found 'attack'",
        ),
        ("[rows.one]", "[rows.one]\nwithout = ['attak']", r"`rows.one.without`:.*attack, found \['attak'\]"),
        ("[rows.one]", "[rows.one]\nwithout = 5", "`rows.one.without`:.*found 5"),
        ("[rows.one]", "[rows.one]\nwithout = [['x']]", r"`rows.one.without`:.*found \[\['x'\]\]"),
        ("cohort = 6", "without = ['x']", "`columns.right.without`: expected a list of keys out of rounds"),
        (
            "[rows.one]",
            "[rows.one.attack.method]\nwithout = ['boost']",
            "`rows.one.attack.method.without`: expected a list of keys out of type, epochs",
        ),
        ("[rows.one]", "[rows]", "`rows`: expected a table of at least 1, each value a table, found"),
        (
            "[columns.left]\n[columns.right]\ncohort = 6",
            "[columns]",
            "`columns`: expected a table of at least 1",
        ),
        (
            '"test_accuracy"',
            '"outcome"',
            "`metrics`: unknown metric `outcome`; expected one of test_accuracy, ",
        ),
        (
            '"test_accuracy"',
            '"test_acuracy"',
            "`metrics`: unknown metric `test_acuracy`; did you mean `test_accuracy`\\?",
        ),
        ("[0, 1]", "[0, 0]", r"`seeds`: expected each seed once, found \[0, 0\]"),
        ("[0, 1]", "[0, true]", "`seeds.1`: .*found True"),
        ("[0, 1]", "[-1]", "`seeds.0`: .*found -1"),
        ("[0, 1]", "[]", "`seeds`: expected a list of at least 1"),
        ("[base]", "[base]\nseed = 3", "`base.seed`: expected no seed here; the table's `seeds` apply"),
        ("[rows.one]", "[rows.one]\nseed = 3", "`rows.one.seed`: expected no seed here"),
        ("[rows.one]", "[rows.one]\nself = 3", "`rows.one.self`: unknown key"),
        (
            "[rows.one]",
            "[rows.one]\n[reported.zzz]",
            "`reported.zzz`: unknown row `zzz`; expected one of one",
        ),
        (
            "[rows.one]",
            "[rows.one]\n[reported.one]\noif = '1'",
            "`reported.one.oif`: unknown metric `oif`; expected one of test_accuracy, attack_accuracy",
        ),
        ("cohort = 6", "clip = { type = 'Foo' }", "`columns.right.clip.type`: unknown Clip `Foo`"),
        ("title", "titles", r"`titles`: unknown key; did you mean `title`\? Table has title, note"),
        ("[rows.one]", "[row.one]", r"`row`: unknown key; did you mean `rows`\?"),
        ("attack.objective", "attak.objective", r"`base.attak`: unknown key; did you mean `attack`\?"),
        ("clients = 50", "client = 50", r"`base.partition.client`: unknown key; did you mean `clients`\?"),
        ("cohort = 5\n", "", "row `one`, column `left`: `cohort`: missing key"),
        (
            "[rows.one]",
            "[rows.'a b']\ndefense.k = 1",
            '`rows."a b".defense.k`: unknown key; Mean has momentum',
        ),
        ("[rows.one]", "[rows.one]\ndefense.type = 'SparseFed'", "`rows.one.defense.k`: missing key"),
        ("rounds = 3", "rounds = 'x'", "`base.rounds`: expected a whole number of at least 1, found 'x'"),
        ("[rows.one]", "[rows]\none = 3", "`rows.one`: expected a table, found 3"),
        (
            "[rows.one]",
            "[rows.one]\n[reported.one]\ntest_accuracy = 3",
            "`reported.one.test_accuracy`: expected text",
        ),
        ("seeds = [0, 1]", "seeds = 3", "`seeds`: expected a list of at least 1, each item a whole number"),
    ],
)
def test_what_makes_no_sense_is_refused_where_it_stands(tmp_path: Path, old: str, new: str, complaint: str):
    assert old in TEXT
    with pytest.raises(sf.SpecError, match=rf"^{tmp_path}/t.toml: ({complaint})") as problem:
        read(tmp_path, TEXT.replace(old, new, 1))
    assert "\n" not in str(problem.value)


def test_the_metrics_of_a_table_are_the_numbers_of_a_result():
    attack = small.attack().but(presence=FixedPerRound(count=2, first=2, last=4))
    result = sf.simulate(
        small.experiment(
            attack=attack, rounds=8, twin=True, defense=GaussianNoise(sigma=0.1), evaluate_every=1
        )
    )
    others = {"accuracy_by_class", "digest", "outcome", "privacy", "stealth_loss_by_class", "environment"}
    assert set(METRICS) == set(result) - others


def test_a_summary_has_mean_spread_and_every_seeds_value(tmp_path: Path):
    table = read(tmp_path, TEXT.replace("[rows.one]", "[rows.one]\n[reported.one]\ntest_accuracy = '97'"))
    results = [
        (
            cell,
            {"outcome": "trained", "test_accuracy": 90.0 + 2 * cell.experiment.seed, "attack_accuracy": seen},
        )
        for cell, seen in zip(table.cells(), [5.0, None, None, None], strict=True)
    ]
    left, right = summary(table, results)
    assert left["test_accuracy"] == {"mean": 91.0, "sd": 2**0.5, "values": [90.0, 92.0], "reported": "97"}
    assert left["attack_accuracy"] == {"mean": 5.0, "sd": None, "values": [5.0, None], "reported": None}
    assert right["attack_accuracy"] == {"mean": None, "sd": None, "values": [None, None], "reported": None}
    assert (left["row"], left["column"], left["seeds"], left["n"]) == ("one", "left", [0, 1], 2)
    text = table_page(table, [left, right], {"torch": "1"}, "again")
    assert "|  |  | test accuracy, % | paper | attack accuracy (ASR), % | n | outcome |" in text
    assert "| one | left | 91.0 ± 1.4 | 97 | 5.0 (1 of 2) | 2 | trained |" in text
    assert "| one | right | 91.0 ± 1.4 | 97 | – | 2 | trained |" in text


def test_a_summary_has_a_value_for_every_seed_in_their_order_whichever_ran_first(tmp_path: Path):
    table = read(tmp_path, TEXT.replace("seeds = [0, 1]", "seeds = [0, 1, 2, 3]"))
    ends = {3: 93.0, 2: None, 0: 90.0}
    results: list = [
        (cell, {"outcome": "diverged" if ends[seed] is None else "trained", "test_accuracy": ends[seed]})
        for cell in reversed(list(table.cells()))
        if (seed := cell.experiment.seed) in ends
    ]
    results += [(cell, sf.RunError("bad")) for cell in table.cells() if cell.experiment.seed == 1]
    line = summary(table, results)[0]
    assert (line["seeds"], line["n"], line["failed"]) == ([0, 1, 2, 3], 3, {1: "bad"})
    assert line["test_accuracy"]["values"] == [90.0, None, None, 93.0]
    assert "| one | left | 91.5 ± 2.1 (2 of 3) | – | 3 | diverged, failed, trained |" in table_page(
        table, [line], {}, ""
    )


def test_a_bar_in_a_name_does_not_break_the_markdown(tmp_path: Path):
    table = read(tmp_path, TEXT.replace("[rows.one]", '[rows."a | b"]'))
    results = [(cell, {"outcome": "trained"}) for cell in table.cells()]
    assert r"| a \| b | left | – | – |" in table_page(table, summary(table, results), {}, "")
