"""The commands that measure a model before it is attacked: how sparse it can be, and what is certain."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from sparsefed.cli.parts import (
    AsJson,
    Out,
    Plot,
    Runs,
    Set,
    Threads,
    news,
    resumable,
    say,
    say_json,
    use_threads,
    whole,
    write,
)
from sparsefed.core.errors import SpecError
from sparsefed.core.text import amount

if TYPE_CHECKING:
    from sparsefed.certify.certificate import Certificate
    from sparsefed.certify.votes.plan import Plan

__all__ = ["certify", "choose_k"]


def choose_k(
    spec: Path,
    *,
    max_loss: float,
    clients: Annotated[int, whole(least=1)] = 20,
    plot: Plot = None,
    set_: Set = [],
    threads: Threads = None,
    json_: AsJson = False,
) -> None:
    """Find the smallest k that loses at most a given share of the clients' gradients (Algorithm 11).

    Example: `sparsefed choose-k examples/digits.toml --max-loss 0.2`

    Parameters
    ----------
    spec
        The experiment, a TOML file.
    max_loss
        The largest share of the ℓ1 mass of a gradient that may be lost, between 0 and 1.
    clients
        How many clients' gradients to look at.
    plot
        Draw the loss against k: a file that ends in .png, .svg or .pdf.
    set_
        Change a key before validation.
    threads
        CPU threads; if not given, one for a small model, else as many as PyTorch chooses.
    json_
        Print JSON.

    """
    from sparsefed.defenses.choose_k import Choice, loss_curve
    from sparsefed.federation.experiment import read_experiment
    from sparsefed.federation.probe import client_updates
    from sparsefed.federation.round import Federation
    from sparsefed.report import terminal
    from sparsefed.report.plots import plot_loss
    from sparsefed.runs.threads import computing_with, worthwhile_threads

    fed = Federation.of(read_experiment(spec, set_))
    with computing_with(threads or worthwhile_threads(fed)):
        curve = loss_curve(client_updates(fed, clients))
    choice = Choice.of(curve, max_loss, clients, fed.rounds_per_epoch)._asdict()
    if json_:
        say_json(choice)
    else:
        say(terminal.table("", {key: key.replace("_", " ") for key in choice}, [choice]))
        share = f"{100 * choice['loss']:.1f} % of the ℓ1 mass of a gradient is lost"
        say(f"With k = {choice['k']} of {choice['params']}, {share} (mean of {amount(clients, 'client')}).")
    if plot is not None:
        plot_loss(curve, max_loss, plot)
        news(f"picture: {plot}")


def certify(
    spec: Path,
    *,
    groups: Annotated[list[int], whole("--groups", least=1, negative="", show_default=False)] = [],
    lipschitz: float | None = None,
    compromised: Annotated[int | None, whole(least=0)] = None,
    set_: Set = [],
    runs: Runs = Path("runs"),
    out: Out = None,
    plot: Plot = None,
    threads: Threads = None,
    json_: AsJson = False,
) -> None:
    """Say how many malicious clients each prediction survives, whatever they send.

    An experiment alone gets the bounds on how far an attack can move its model. With `--groups`, groups of
    its clients train a model each and vote, which certifies any model and any rule; a file with
    `[certificates]` compares several ways.

    Example: `sparsefed certify examples/certify_digits.toml`
    Example: `sparsefed certify examples/digits.toml --groups 10 --groups 25`
    Example: `sparsefed certify examples/certify_votes.toml --plot votes.png`

    Parameters
    ----------
    spec
        An experiment, a TOML file; or a file of certificates, with `[base]` and `[certificates]`.
    groups
        How many groups vote; may be repeated to compare numbers.
    lipschitz
        The coordinatewise Lipschitz constant c, for models whose constant is not known here.
    compromised
        Of an experiment alone: how many clients the attacker holds, if not as in the experiment.
    set_
        Change a key of the experiment before validation.
    runs
        The folder that keeps the votes, so that a stopped training goes on.
    out
        Write there, as CSV, what each test point survives under each certificate.
    plot
        Draw certified accuracy (of an experiment alone, the radius): a file that ends in .png, .svg or .pdf.
    threads
        CPU threads; if not given, one for votes and for small models, else as many as PyTorch chooses.
    json_
        Print JSON.

    """
    from sparsefed.core.toml import read_toml

    table = ", a table" if groups else ""
    content = read_toml(spec, f"an experiment{table} or a file of certificates")
    if groups or "base" in content or "certificates" in content:
        if lipschitz is not None or compromised is not None:
            raise SpecError("--lipschitz and --compromised: expected an experiment without groups")
        from sparsefed.certify.votes.plan import read_plan, voting_plan

        use_threads(threads or 1)
        changes = tuple(set_)
        plan = voting_plan(spec, groups, changes) if groups else read_plan(spec, changes)
        _votes(plan, runs, out, plot, json_)
    elif out is not None:
        raise SpecError(
            "--out: expected `--groups` or a file with `[certificates]`, found an experiment alone"
        )
    else:
        from sparsefed.certify import certificate
        from sparsefed.federation.experiment import read_experiment
        from sparsefed.federation.round import Federation
        from sparsefed.runs.threads import computing_with, worthwhile_threads

        experiment = read_experiment(spec, set_)
        with computing_with(threads or worthwhile_threads(Federation.of(experiment))):
            found = certificate(experiment, lipschitz=lipschitz, compromised=compromised)
        _radius(found, plot, json_)


def _votes(plan: "Plan", runs: Path, out: Path | None, plot: Path | None, json_: bool) -> None:
    from sparsefed.certify.votes.plan import findings
    from sparsefed.certify.votes.report import per_point, plain, plot_findings, shown
    from sparsefed.report.progress import trained

    with resumable(runs):
        found = trained(findings(plan, runs / "votes"))
    if json_:
        say_json(plain(plan, found))
    else:
        say(shown(plan, found))
    if out is not None:
        write(out, per_point(found))
    if plot is not None:
        plot_findings(plan, found, plot)
        news(f"picture: {plot}")


def _radius(found: "Certificate", plot: Path | None, json_: bool) -> None:
    from sparsefed.certify.report import certificate_table, plot_certificate

    if json_:
        say_json(found.to_dict())
    else:
        say(certificate_table(found))
    if plot is not None:
        plot_certificate(found, plot)
        news(f"picture: {plot}")
