"""The command that measures how easily a model is poisoned."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from sparsefed.cli.parts import (
    AsJson,
    Fresh,
    Jobs,
    Runs,
    Set,
    Threads,
    as_typed,
    ending,
    resumable,
    say_json,
    use_threads,
    write,
)
from sparsefed.core.errors import SpecError

__all__ = ["audit"]

_KINDS = {
    ".npz": "data",
    ".csv": "data",
    ".parquet": "data",
    ".py": "a file of Python",
    ".toml": "an experiment",
}


def audit(
    subject: str,
    data: Path | None = None,
    *,
    label: str | None = None,
    budget: str = "5m",
    set_: Set = [],
    runs: Runs = Path("runs"),
    out: Annotated[Path | None, Parameter("--out", validator=ending(".html"))] = None,
    jobs: Jobs = 1,
    fresh: Fresh = False,
    threads: Threads = 1,
    json_: AsJson = False,
) -> None:
    """Find how many compromised clients it takes to poison a model, and which classes fall first.

    Every attack is tried with more and more clients against no defense, a clip and SparseFed, the last two
    with the best settings that a search finds. What is certified is said beside it. An audit that was
    interrupted resumes: run the same command again.

    Example: `sparsefed audit mine:build mine.npz --out audit.html`

    Parameters
    ----------
    subject
        An experiment's TOML file; or with `data` your model, a function `module:function`.
    data
        Your examples: an .npz archive, or a .csv or .parquet table.
    label
        The column of a table that holds each row's class.
    budget
        How much to search for settings: a time such as `90s` or `5m`, or a number of runs. The attacks come
        on top. With a number of runs, the least that can do anything is named if it is too small.
    set_
        Change a key of the experiment before validation, such as `--set rounds=300`; may be repeated.
    runs
        The folder that holds the runs.
    out
        Write the audit there, as an HTML page that opens from disk, and beside it the audited experiment:
        for `audit.html`, `audit-experiment.toml`.
    jobs
        How many runs of the search to execute in parallel.
    fresh
        Start over what was found and run with files of data or code that have changed since, and runs whose
        folders are damaged; everything else is kept.
    threads
        CPU threads per run.
    json_
        Print JSON.

    """
    from sparsefed.core.origin import Layer, Typed
    from sparsefed.core.toml import to_toml
    from sparsefed.federation.experiment import layered, read_experiment
    from sparsefed.frontier.audit import audit as examine
    from sparsefed.frontier.budget import Budget
    from sparsefed.frontier.usual import usual
    from sparsefed.frontier.verdict import as_page, as_text
    from sparsefed.report.progress import followed

    _check_order(subject, data)
    use_threads(threads)
    limit = Budget.of(budget)
    if data is None:
        base = read_experiment(Path(subject), set_)
    else:
        base = layered([Layer(usual(subject, data, label)), Typed.of(set_)], f"{subject} on {data}")
    with resumable(runs):
        found = followed("audit", examine(base, runs, limit, jobs, threads or 1, fresh=fresh))
    if out is not None:
        file = str(out.with_name(f"{out.stem}-experiment.toml"))
    else:
        file = subject if data is None and not set_ else ""
    if json_:
        say_json(found.to_dict())
    else:
        print(as_text(found, file))
    if out is not None:
        write(out, as_page(found, subject, as_typed(), file))
        write(Path(file), to_toml(base.to_dict()))


def _check_order(subject: str, data: Path | None) -> None:
    """Raises `SpecError` with the command to type unless these are an experiment, or a model and its data."""
    given = [subject] if data is None else [subject, str(data)]
    found = [_kind(name) for name in given]
    if found in (["an experiment"], ["another file"], ["a model", "data"], ["a model", "another file"]):
        return
    names = dict(zip(found, given, strict=True))
    model, examples = names.get("a model", "module:function"), names.get("data", "data.npz")
    if script := names.get("a file of Python"):
        model = f"{Path(script).stem}:FUNCTION"
    raise SpecError(
        f"audit: expected a model and its data, or an experiment's TOML file, found {' and '.join(found)}; "
        f"give the model first, then the data: `sparsefed audit {model} {examples}`"
    )


def _kind(name: str) -> str:
    """What an argument seems to be."""
    path = Path(name)
    if path.suffix in _KINDS:
        return _KINDS[path.suffix]
    return "a model" if ":" in name or not (path.suffix or path.is_file()) else "another file"
