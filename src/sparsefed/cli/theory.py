"""The commands that measure a model before it is attacked: how sparse it can be, and what is certain."""

from pathlib import Path

from sparsefed.cli.parts import AsJson, Plot, Set, Threads, say, say_json

__all__ = ["certify", "choose_k"]


def choose_k(
    spec: Path,
    *,
    max_loss: float,
    clients: int = 20,
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
        say(f"With k = {choice['k']} of {choice['params']}, {share} (mean of {clients} clients).")
    if plot is not None:
        plot_loss(curve, max_loss, plot)


def certify(
    spec: Path,
    *,
    lipschitz: float | None = None,
    compromised: int | None = None,
    plot: Plot = None,
    set_: Set = [],
    threads: Threads = None,
    json_: AsJson = False,
) -> None:
    """Bound how far any attack within the threat model can move the final model.

    Example: `sparsefed certify examples/certify_digits.toml`

    Parameters
    ----------
    spec
        The experiment, a TOML file; its attack says how many clients are compromised.
    lipschitz
        The coordinatewise Lipschitz constant c, for models whose constant is not known here.
    compromised
        How many clients the attacker holds, if not as in the experiment.
    plot
        Draw the radius against k and against the rounds: a file that ends in .png, .svg or .pdf.
    set_
        Change a key before validation.
    threads
        CPU threads; if not given, one for a small model, else as many as PyTorch chooses.
    json_
        Print JSON.

    """
    from sparsefed.certify import certificate
    from sparsefed.certify.report import certificate_table, plot_certificate
    from sparsefed.federation.experiment import read_experiment
    from sparsefed.federation.round import Federation
    from sparsefed.runs.threads import computing_with, worthwhile_threads

    experiment = read_experiment(spec, set_)
    with computing_with(threads or worthwhile_threads(Federation.of(experiment))):
        found = certificate(experiment, lipschitz=lipschitz, compromised=compromised)
    if json_:
        say_json(found.to_dict())
    else:
        say(certificate_table(found))
    if plot is not None:
        plot_certificate(found, plot)
