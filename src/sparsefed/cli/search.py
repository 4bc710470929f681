"""The commands that search: every defense over its own settings, and the one to choose."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from sparsefed.cli.parts import (
    AsJson,
    Cluster,
    Fresh,
    Jobs,
    Out,
    Plot,
    Runs,
    Set,
    Share,
    Shares,
    Threads,
    as_typed,
    beside,
    news,
    resumable,
    say_json,
    use_threads,
    write,
)
from sparsefed.core.errors import SpecError

__all__ = ["frontier", "tune"]


def frontier(
    spec: Path,
    *,
    budget: str = "1h",
    compromised: Shares = [],
    vary: Annotated[list[str], Parameter("--vary", negative="", show_default=False)] = [],
    set_: Set = [],
    runs: Runs = Path("runs"),
    out: Out = None,
    plot: Plot = None,
    jobs: Jobs = 1,
    cluster: Cluster = None,
    fresh: Fresh = False,
    threads: Threads = 1,
    json_: AsJson = False,
) -> None:
    """Compare defenses at their best: test accuracy against the worst attack, over each one's own settings.

    Settings are chosen on a validation split with a seed and targeted points of the search's own; the
    points it prints are run again on the test set with other seeds, and with twice the rounds. A frontier
    that was interrupted resumes: run the same command again.

    Example: `sparsefed frontier examples/digits.toml --budget 3m`

    Parameters
    ----------
    spec
        An experiment, compared with the usual defenses; or a frontier's own TOML file, with `[base]`.
    budget
        How much to run, over all restarts: a time such as `90s`, `3m` or `1h`, or a number of runs. A time is
        what the runs take, added up over the processes, so with `--jobs 2` an hour takes half an hour.
    compromised
        The share of the clients that is compromised, between 0 and 1, if not as in the file; may be repeated.
    vary
        A plain grid instead of a search: `--vary clip.norm=0.1,1,5`; may be repeated.
    set_
        Change a key of the experiment before validation, such as `--set rounds=100`; may be repeated.
    runs
        The folder that holds the runs and the state of the search.
    out
        Write the page there, as Markdown.
    plot
        Draw the frontier: a file that ends in .png, .svg or .pdf.
    jobs
        How many runs to execute in parallel, each in a process of its own.
    cluster
        The address of a Dask scheduler whose workers execute the runs, in place of `--jobs`.
    fresh
        Start over what was found and run with files of data or code that have changed since, and runs whose
        folders are damaged; everything else is kept.
    threads
        CPU threads per run.
    json_
        Print the points as JSON.

    """
    from sparsefed.frontier.budget import Budget
    from sparsefed.frontier.page import markdown, rows
    from sparsefed.frontier.picture import plot_frontier
    from sparsefed.frontier.plan import read_plan
    from sparsefed.frontier.search import frontier as search
    from sparsefed.report.progress import followed

    use_threads(threads)
    limit = Budget.of(budget)
    said = {"compromised": compromised, "vary": _grid(vary)}
    plan = read_plan(spec, tuple(set_), **{key: value for key, value in said.items() if value})
    with resumable(runs):
        points = followed(spec.stem, search(plan, runs, limit, jobs, threads or 1, cluster, fresh=fresh))
    if json_:
        say_json(rows(points))
    else:
        print(markdown(plan, points, as_typed()))
    drawn = plot if any(point.reported for point in points) else None
    if out is not None:
        write(out, markdown(plan, points, as_typed(), beside(out, drawn)))
    if drawn is not None:
        plot_frontier(plan, points, drawn)
        news(f"picture: {drawn}")
    elif plot is not None:
        news("no picture: no point was reported")


def _grid(texts: list[str]) -> dict[str, list[object]]:
    pairs = [_varied(text) for text in texts]
    if twice := {key for key, _ in pairs if [other for other, _ in pairs].count(key) > 1}:
        raise SpecError(f"--vary: expected each key once, found `{min(twice)}` more than once")
    return dict(pairs)


def _varied(text: str) -> tuple[str, list[object]]:
    """`clip.norm=0.1,1` as a key and its values, read as TOML."""
    import tomllib

    key, equals, values = text.partition("=")
    try:
        found = tomllib.loads(f"values = [{values}]")["values"]
    except tomllib.TOMLDecodeError:
        found = []
    if not (equals and key.strip() and found):
        raise SpecError(f"--vary: expected key.path=value,value,…, found {text!r}")
    return key.strip(), found


def tune(
    spec: Path,
    *,
    compromised: Share = 0.1,
    max_loss: Annotated[float, Parameter("--max-loss")] = 2.0,
    budget: str = "1h",
    goal: str | None = None,
    set_: Set = [],
    runs: Runs = Path("runs"),
    out: Out = None,
    jobs: Jobs = 1,
    cluster: Cluster = None,
    fresh: Fresh = False,
    threads: Threads = 1,
    json_: AsJson = False,
) -> None:
    """Choose the defense and its settings for a federation, as an experiment to run.

    The answer holds most against the worst attack of the goal among the settings that lose at most
    `--max-loss` points of test accuracy under attack. Its evidence is printed beside it: what it costs, what
    it holds at one and at two horizons, and the share of compromised clients at which it breaks.

    Example: `sparsefed tune examples/digits.toml --compromised 0.05 --budget 10m --out tuned.toml`

    Parameters
    ----------
    spec
        An experiment, or a frontier's TOML file.
    compromised
        The share of the clients that you must assume to be compromised, between 0 and 1.
    max_loss
        Points by which test accuracy under the worst attack may stay below the best unattacked run of any
        defense.
    budget
        How much to search and report, over all restarts: a time such as `90s`, `3m` or `1h`, or a number of
        runs. A time is what the runs take, added up over the processes. The runs that find where the answer
        breaks come on top: up to 7 shares of compromised clients, each with every attack of the goal.
    goal
        What the attackers want: `chosen points`, `backdoor` or `untargeted`; if not given, the first that
        the file names, or the first that makes sense for the data.
    set_
        Change a key of the experiment before validation; may be repeated.
    runs
        The folder that holds the runs and the state of the search.
    out
        Write the chosen experiment there, as TOML with the evidence in its head.
    jobs
        How many runs to execute in parallel, each in a process of its own.
    cluster
        The address of a Dask scheduler whose workers execute the runs, in place of `--jobs`.
    fresh
        Start over what was found and run with files of data or code that have changed since, and runs whose
        folders are damaged; everything else is kept.
    threads
        CPU threads per run.
    json_
        Print the answer and its evidence as JSON.

    """
    from sparsefed.frontier.budget import Budget
    from sparsefed.frontier.page import answer, as_toml
    from sparsefed.frontier.plan import Plan, read_plan
    from sparsefed.frontier.tune import tune as choose
    from sparsefed.report.progress import followed

    use_threads(threads)
    limit = Budget.of(budget)
    if not 0 <= max_loss <= 100:
        raise SpecError(f"--max-loss: expected 0 to 100 points of test accuracy, found {max_loss:g}")
    goals = {} if goal is None else {"goals": [goal]}
    plan = read_plan(spec, tuple(set_), Plan, compromised=[compromised], **goals)
    plan = plan.with_goals(plan.goals[:1])
    with resumable(runs):
        how = {"jobs": jobs, "threads": threads or 1, "cluster": cluster, "fresh": fresh}
        steps = choose(plan, runs, limit, max_loss=max_loss, **how)
        tuned = followed(spec.stem, steps)
    print(answer(tuned)) if not json_ else say_json(tuned.to_dict())
    if out is not None:
        write(out, as_toml(tuned, as_typed()))
