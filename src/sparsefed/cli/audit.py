"""The command that measures how easily a model is poisoned."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from sparsefed.cli.parts import (
    AsJson,
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

__all__ = ["audit"]


def audit(
    subject: str,
    data: Path | None = None,
    *,
    budget: str = "5m",
    set_: Set = [],
    runs: Runs = Path("runs"),
    out: Annotated[Path | None, Parameter("--out", validator=ending(".html"))] = None,
    jobs: Jobs = 1,
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
        Your examples, an .npz archive.
    budget
        How much to search for settings: a time such as `90s` or `5m`, or a number of runs. The attacks come
        on top.
    set_
        Change a key of the experiment before validation, such as `--set rounds=300`; may be repeated.
    runs
        The folder that holds the runs.
    out
        Write the audit there, as an HTML page that opens from disk.
    jobs
        How many runs of the search to execute in parallel.
    threads
        CPU threads per run.
    json_
        Print JSON.

    """
    from sparsefed.core.origin import Layer, Typed
    from sparsefed.federation.experiment import layered, read_experiment
    from sparsefed.frontier.audit import audit as examine, usual
    from sparsefed.frontier.budget import Budget
    from sparsefed.frontier.verdict import as_page, as_text
    from sparsefed.report.progress import followed

    use_threads(threads)
    limit = Budget.of(budget)
    if data is None:
        base = read_experiment(Path(subject), set_)
    else:
        base = layered([Layer(usual(subject, data)), Typed.of(set_)], f"{subject} on {data}")
    with resumable(runs):
        found = followed("audit", examine(base, runs, limit, jobs, threads or 1))
    if json_:
        say_json(found.to_dict())
    else:
        print(as_text(found))
    if out is not None:
        write(out, as_page(found, subject, as_typed()))
