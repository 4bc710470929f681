"""A report: the numbers of a table or of a folder of runs, with the runs behind them."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from sparsefed.core.errors import RunError, SparseFedError, SpecError, StaleError
from sparsefed.report.history import brief, differences, outcome
from sparsefed.report.markdown import grid, of_all, plain, with_spread
from sparsefed.runs.headings import decimals, heading
from sparsefed.runs.record import Record, Row, ended, find_record
from sparsefed.runs.tables import Table, summary

__all__ = ["Entry", "Sheet", "as_csv", "as_latex", "as_markdown", "of_folder", "of_table"]


class Entry(NamedTuple):
    """One line of a report."""

    name: list[str]
    """Row, and column if there are any."""
    n: int
    """How many seeds are behind it."""
    outcome: str
    """How the runs ended."""
    means: list[float | None]
    """The mean of each metric; None where no run has it."""
    spreads: list[float | None]
    """The standard deviation over the seeds; None with fewer than two."""
    counts: list[int]
    """How many of the n runs have each metric."""
    reported: list[str]
    """What the publication prints for each metric; empty where it prints nothing."""
    records: list[Record]
    """The runs behind it."""


class Sheet(NamedTuple):
    """What a report shows."""

    title: str
    note: str
    metrics: list[str]
    columns: bool
    """Whether lines have a column beside a row."""
    entries: list[Entry]
    environment: Row
    """Where the runs were made."""
    seed: int | None = None
    """The seed whose runs are drawn; None to draw all."""

    @property
    def heads(self) -> list[str]:
        """The head of each metric."""
        return [heading(metric) for metric in self.metrics]


def of_table(table: Table, runs: Path) -> Sheet:
    """The cells of a table that have run; the others, and what other files made, have no numbers."""
    records = [(cell, Record(runs, cell.experiment)) for cell in table.cells()]
    known = [(cell, record, end) for cell, record in records if (end := ended(record)) is not None]
    results = [(cell, end) for cell, _, end in known]
    columns = list(table.columns) != [""]
    entries = []
    for line in summary(table, results):
        mine = [
            record
            for cell, record, end in known
            if (cell.row, cell.column) == (line["row"], line["column"]) and isinstance(end, dict)
        ]
        values = [line[metric] for metric in table.metrics]
        entries.append(
            Entry(
                name=[line["row"], *([line["column"]] if columns else [])],
                n=line["n"],
                outcome=line["outcome"],
                means=[value["mean"] for value in values],
                spreads=[value["sd"] for value in values],
                counts=[sum(number is not None for number in value["values"]) for value in values],
                reported=[value["reported"] or "" for value in values],
                records=mine,
            )
        )
    environment = next((end["environment"] for _, end in results if isinstance(end, dict)), {})
    return Sheet(table.title, table.note, table.metrics, columns, entries, environment, table.seeds[0])


def of_folder(folder: Path) -> Sheet:
    """Every run of a folder as a line, told by what differs between them."""
    found = {path.parent: _looked(path.parent) for path in sorted(folder.glob("*/spec.json"))}
    if not found:
        raise SpecError(f"{folder}: expected a folder of runs, or a table's TOML file, found no run in it")
    told = iter(differences([record.experiment.to_dict() for record in found.values() if record is not None]))
    metrics = ["test_accuracy", "attack_accuracy"]
    entries = []
    for place, record in found.items():
        name = place.name if record is None else _name(record, next(told))
        seen, records = _seen(record)
        means = [seen.get(metric) for metric in metrics]
        counts = [int(mean is not None) for mean in means]
        n, end = len(records), seen["outcome"]
        entries.append(Entry([name], n, end, means, [None, None], counts, ["", ""], records))
    results = [record.result for entry in entries for record in entry.records]
    environment = next((result["environment"] for result in results if result is not None), {})
    return Sheet(f"Runs in {folder.name}", "", metrics, False, entries, environment)


def _looked(folder: Path) -> Record | None:
    """A run of a folder; None if it cannot be read."""
    try:
        return find_record(folder)
    except RunError:
        return None


def _name(record: Record, differing: dict[str, str]) -> str:
    found = ", ".join(f"{key} {value}" for key, value in differing.items())
    return found or brief(record.experiment.to_dict())


def _seen(record: Record | None) -> tuple[Row, list[Record]]:
    """What a report says of a run, and the run itself if it can be shown."""
    end = None if record is None else ended(record)
    if isinstance(end, StaleError):
        return {"outcome": end.outcome}, []
    if record is None or isinstance(end, SparseFedError):
        return {"outcome": "unreadable"}, []
    return outcome(record), [record]


def as_markdown(sheet: Sheet) -> str:
    """The numbers as a Markdown table."""
    heads, lines = _grid(sheet, plain, "±")
    texts = 2 if sheet.columns else 1
    parts = [f"# {plain(sheet.title)}", sheet.note.strip(), grid(heads, lines, texts)]
    return "\n\n".join(part for part in parts if part) + "\n"


def as_csv(sheet: Sheet) -> str:
    """Means, standard deviations and of how many runs, one line each."""
    import csv
    import io

    names = ["row", *(["column"] if sheet.columns else [])]
    parts = ("", "_sd", "_n", "_reported")
    numbers = [metric + part for metric in sheet.metrics for part in parts]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*names, *numbers, "n", "outcome"])
    for entry in sheet.entries:
        values = zip(entry.means, entry.spreads, entry.counts, entry.reported, strict=True)
        writer.writerow([*entry.name, *(part for value in values for part in value), entry.n, entry.outcome])
    return text.getvalue()


def as_latex(sheet: Sheet) -> str:
    """A `booktabs` table for a paper."""
    heads, lines = _grid(sheet, _tex, r"$\pm$")
    texts = 2 if sheet.columns else 1
    shape = "l" * texts + "r" * (len(heads) - texts - 1) + "l"
    body = [" & ".join(cells) + r" \\" for cells in lines]
    return "\n".join(
        [
            rf"% {sheet.title}",
            rf"\begin{{tabular}}{{{shape}}}",
            r"\toprule",
            " & ".join(heads) + r" \\",
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


def _grid(sheet: Sheet, escaped: Callable[[str], str], sign: str) -> tuple[list[str], list[list[str]]]:
    """Heads and cells; a metric that some line has a printed number for has a column for it."""
    printed = [any(entry.reported[i] for entry in sheet.entries) for i in range(len(sheet.metrics))]
    heads = ["", *([""] if sheet.columns else [])]
    for head, has in zip(sheet.heads, printed, strict=True):
        heads += [escaped(head), *(["paper"] if has else [])]
    lines = []
    for entry in sheet.entries:
        cells = [escaped(name) for name in entry.name]
        for i, has in enumerate(printed):
            cells += [number(sheet, entry, i, sign), *([escaped(entry.reported[i])] if has else [])]
        lines.append([*cells, str(entry.n), escaped(entry.outcome)])
    return [*heads, "n", "outcome"], lines


def number(sheet: Sheet, entry: Entry, place: int, sign: str = "±") -> str:
    """Mean and standard deviation of a metric, or a dash, as a table has them."""
    text = with_spread(entry.means[place], entry.spreads[place], sign, decimals(sheet.metrics[place]))
    return text + of_all(entry.counts[place], entry.n)


_TEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
_TEX |= {sign: "\\" + sign for sign in "&%$#_{}"}


def _tex(text: str) -> str:
    return "".join(_TEX.get(letter, letter) for letter in text)
