"""Reports: the numbers of a table or a folder as a page, Markdown, CSV and LaTeX, and what is behind them."""

import csv
import io
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import tomli_w
from hypothesis import given, strategies as st

from sparsefed import cli, simulate
from sparsefed.federation.experiment import read_experiment
from sparsefed.report.dossier import _first_seed, as_page
from sparsefed.report.markdown import table_page
from sparsefed.report.sheet import Entry, Sheet, as_csv, as_latex, as_markdown, of_folder, of_table
from sparsefed.runs.record import to_json
from sparsefed.runs.tables import Table, read_table, summary

Command = Callable[..., tuple[int, str, str]]

TABLE = {
    "title": "Two <clips> & a rule",
    "note": "Here are\n\n- *two* clips\n- a <rule>\n",
    "seeds": [0, 1],
    "metrics": ["test_accuracy", "attack_accuracy"],
    "base": {
        "rounds": 4,
        "cohort": 10,
        "data": {"type": "Digits"},
        "partition": {"type": "IID", "clients": 50},
        "model": {"type": "Linear"},
        "schedule": {"type": "Constant", "value": 0.5},
        "defense": {"type": "Mean"},
    },
    "rows": {
        "short_50%": {"clip": {"type": "FixedClip", "norm": 0.1}},
        "long": {"clip": {"type": "FixedClip", "norm": 1.0}},
        "never run": {"rounds": 3},
    },
    "reported": {"long": {"test_accuracy": "97.1"}},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("report")
    (place / "table.toml").write_text(tomli_w.dumps(TABLE))
    for cell in read_table(place / "table.toml").cells():
        if cell.row != "never run":
            simulate(cell.experiment, place / "runs")
    return place


@pytest.fixture(scope="module")
def sheet(folder: Path) -> Sheet:
    return of_table(read_table(folder / "table.toml"), folder / "runs")


def test_a_line_has_the_mean_of_its_runs_and_what_has_not_run_has_none(sheet: Sheet) -> None:
    by_name = {entry.name[0]: entry for entry in sheet.entries}
    values = [record.result["test_accuracy"] for record in by_name["long"].records]  # type: ignore[index]
    assert by_name["long"].means[0] == pytest.approx(sum(values) / 2)
    assert by_name["long"].n == 2
    missing = by_name["never run"]
    assert (missing.n, missing.outcome, missing.means, missing.records) == (0, "not run", [None, None], [])


def test_a_seed_that_diverged_is_told_as_the_table_tells_it(tmp_path: Path) -> None:
    table = Table(**{**TABLE, "seeds": [0, 1, 2], "rows": {"long": {}}})
    results = [(cell, simulate(cell.experiment, tmp_path)) for cell in table.cells()]
    folder = tmp_path / results[1][0].experiment.digest()
    ruined = {**results[1][1], "outcome": "diverged", "test_accuracy": None}
    (folder / "result.json").write_bytes(to_json(ruined))
    results[1] = (results[1][0], ruined)
    printed = table_page(table, summary(table, results), {}, "")
    (line,) = (line for line in printed.splitlines() if "(2 of 3)" in line)
    sheet = of_table(table, tmp_path)
    assert line in as_markdown(sheet)
    assert line.split(" | ")[1] in as_page(sheet, "")
    assert "(2 of 3)" in as_latex(sheet)
    assert next(csv.DictReader(io.StringIO(as_csv(sheet))))["test_accuracy_n"] == "2"


def test_csv_can_be_read_back_and_has_the_printed_numbers(sheet: Sheet) -> None:
    lines = list(csv.DictReader(io.StringIO(as_csv(sheet))))
    assert [line["row"] for line in lines] == list(TABLE["rows"])  # type: ignore[call-overload]
    assert lines[1]["test_accuracy_reported"] == "97.1"
    assert float(lines[1]["test_accuracy"]) == sheet.entries[1].means[0]


def test_latex_has_a_cell_for_every_column_and_escapes_what_latex_reads(sheet: Sheet) -> None:
    text = as_latex(sheet)
    shape = re.search(r"begin\{tabular\}\{(\w+)\}", text)
    assert shape is not None
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert {line.replace(r"\&", "").count("&") + 1 for line in rows} == {len(shape[1])}
    assert r"short\_50\%" in text
    assert "paper" in rows[0]


@given(st.text(st.characters(codec="ascii", exclude_categories=("Cc",)), min_size=1, max_size=20))
def test_no_name_leaves_a_special_sign_for_latex(name: str) -> None:
    entry_text = as_latex(Sheet("", "", [], False, [_named(name)], {})).splitlines()[4]
    bare = re.sub(
        r"\\textbackslash\{\}|\\textasciitilde\{\}|\\textasciicircum\{\}|\\[&%$#_{}]", "", entry_text
    )
    assert not re.search(r"[%$#_{}~^]", bare.removesuffix(r"\\"))


def _named(name: str) -> Entry:
    return Entry([name], 0, "not run", [], [], [], [], [])


def test_markdown_has_a_line_for_every_cell(sheet: Sheet) -> None:
    assert as_markdown(sheet).count("\n| ") == 2 + len(sheet.entries)
    assert "\n- *two* clips\n" in as_markdown(sheet)


def test_the_page_needs_no_network_and_holds_every_experiment_to_copy(sheet: Sheet, tmp_path: Path) -> None:
    text = as_page(sheet, "sparsefed report table.toml")
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:)?//""", text)
    assert "<clips>" not in text
    assert "<li><em>two</em> clips</li>\n<li>a &lt;rule&gt;</li>" in text
    specs = re.findall(r"<pre>(.*?)</pre>", text, re.DOTALL)
    assert len(specs) == 2
    from html import unescape

    (tmp_path / "again.toml").write_text(unescape(specs[0]))
    assert read_experiment(tmp_path / "again.toml") == sheet.entries[0].records[0].experiment


def test_the_picture_draws_the_first_seed_of_the_lines_that_have_run_it(folder: Path, tmp_path: Path) -> None:
    table = read_table(folder / "table.toml")
    for cell in table.cells():
        if cell.row == "long" or (cell.row, cell.experiment.seed) == ("short_50%", 1):
            name = cell.experiment.digest()
            shutil.copytree(folder / "runs" / name, tmp_path / name)
    found = of_table(table, tmp_path)
    assert [entry.n for entry in found.entries] == [1, 2, 0]
    assert [curve.name for curve in _first_seed(found)[""]] == ["long"]
    assert "Every line that has run seed 0, over the rounds." in as_page(found, "")
    assert len(_first_seed(of_folder(tmp_path))[""]) == 3


def test_a_folder_of_runs_is_a_report_too(folder: Path) -> None:
    found = of_folder(folder / "runs")
    assert len(found.entries) == 4
    assert len({entry.name[0] for entry in found.entries}) == 4


@pytest.fixture
def aged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a table of two runs, of which one was made with other code than there is now."""
    monkeypatch.syspath_prepend(tmp_path)
    sys.modules.pop("aging_rule", None)  # another test's
    rule = tmp_path / "aging_rule.py"
    rule.write_text("import sparsefed as sf\nclass Rule(sf.Mean): pass\n")
    rows = {"own": {"defense": {"type": "aging_rule:Rule"}}, "long": {}}
    (tmp_path / "t.toml").write_text(tomli_w.dumps({**TABLE, "seeds": [0], "rows": rows}))
    for cell in read_table(tmp_path / "t.toml").cells():
        simulate(cell.experiment, tmp_path / "runs")
    rule.write_text("import sparsefed as sf\nclass Rule(sf.Mean): x = 1\n")
    return tmp_path


def test_a_run_made_with_other_files_is_named_and_not_shown(aged: Path, command: Command) -> None:
    table = read_table(aged / "t.toml")
    for sheet in (of_table(table, aged / "runs"), of_folder(aged / "runs")):
        stale, current = sorted(sheet.entries, key=lambda entry: entry.n)
        assert (stale.n, stale.outcome, stale.means) == (0, "made with other files", [None, None])
        assert (stale.records, current.n, current.means[0] is None) == ([], 1, False)
        assert "Nothing to show: made with other files." in as_page(sheet, "")
    words = ("--runs", str(aged / "runs"), "--only", "long")
    code, printed, _ = command("table", str(aged / "t.toml"), *words)
    assert code == 0
    assert "| 0 | made with other files |" in printed
    assert "changed since this run was made" in printed


def test_a_look_at_a_run_made_with_other_files_says_so(aged: Path, command: Command) -> None:
    cells = {cell.row: cell.experiment for cell in read_table(aged / "t.toml").cells()}
    stale, current = (aged / "runs" / cells[row].digest() for row in ("own", "long"))
    told = f"{stale.name[:8]}: made with other files: `aging_rule.py` of aging_rule:Rule changed since"
    for words in (("show", str(stale)), ("compare", str(stale), str(current))):
        code, printed, said = command(*words)
        assert (code, said.count("made with other files")) == (0, 1)
        assert printed
        assert told in said


def test_a_run_that_cannot_be_read_is_a_line_of_the_report(aged: Path) -> None:
    names = [cell.experiment.digest() for cell in read_table(aged / "t.toml").cells()]
    whole = aged / "runs" / names[1]
    for name, file in (("no spec", "spec.json"), ("no rounds", "rounds.jsonl"), ("no result", "result.json")):
        shutil.copytree(whole, aged / "runs" / name)
        (aged / "runs" / name / file).write_text("{}")
    shutil.copytree(whole, aged / "runs" / "frontier" / names[1])
    found = of_folder(aged / "runs")
    assert sorted(entry.outcome for entry in found.entries)[-4:] == ["trained", *["unreadable"] * 3]
    assert len(found.entries) == 5
    assert ["no spec"] in [entry.name for entry in found.entries]
    assert as_page(found, "").count("Nothing to show: unreadable.") == 3
    (whole / "rounds.jsonl").write_text("{}")
    assert of_table(read_table(aged / "t.toml"), aged / "runs").entries[1].outcome == "failed"


def test_a_file_with_a_space_in_its_name_is_the_one_that_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Command
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("my table.toml", "table.toml"):
        Path(name).write_text(tomli_w.dumps({**TABLE, "title": name}))
    assert command("report", "my table.toml", "--out", "a.md")[0] == 0
    assert Path("a.md").read_text().startswith("# my table.toml\n")
    assert "my other.toml: no such file" in command("report", "my other.toml")[2]


DRIVE = """
<script>
addEventListener("load", () => {
  const names = () => [...document.querySelectorAll("#lines tbody")].filter((b) => !b.hidden)
    .map((b) => b.rows[0].cells[0].textContent).join("|");
  const heads = document.querySelectorAll("#lines thead button");
  heads[0].click();
  const down = names();
  heads[0].click();
  const up = names();
  document.querySelector("tbody tr").click();
  const open = [...document.querySelectorAll(".behind")].filter((r) => !r.hidden).length;
  const filter = document.getElementById("filter");
  filter.value = "LONG";
  filter.dispatchEvent(new Event("input"));
  const wide = document.documentElement.scrollWidth <= innerWidth;
  document.body.innerHTML = "<output>" + [down, up, open, names(), wide].join("\\n") + "</output>";
});
</script>
"""


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs the browser chromium")
@pytest.mark.parametrize("width", [1200, 500])
def test_a_browser_sorts_filters_and_opens_lines(sheet: Sheet, tmp_path: Path, width: int) -> None:
    page = tmp_path / "page.html"
    page.write_text(as_page(sheet, "sparsefed report") + DRIVE)
    words = ["--headless", "--no-sandbox", "--disable-gpu", f"--window-size={width},900", "--dump-dom"]
    done = subprocess.run(
        ["chromium", *words, page.as_uri()], capture_output=True, text=True, timeout=120, check=True
    )
    found = re.search(r"<output>(.*?)</output>", done.stdout, re.DOTALL)
    assert found is not None
    down, up, opened, kept, fits = found[1].split("\n")
    assert up.split("|") == sorted(TABLE["rows"])  # type: ignore[arg-type]
    assert down.split("|") == up.split("|")[::-1]
    assert (opened, kept, fits) == ("1", "long", "true")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["report", "nothing.toml"], "no such file"),
        (
            ["report", "nothing.toml", "--out", "a.docx"],
            "expected a name that ends in .html, .md",
        ),
        (["report", "."], "found no run in it"),
    ],
)
def test_bad_input_is_one_clear_line(
    words: list[str],
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        cli.main(words)
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert expected in error
    assert error.count("\n") == 1
