"""From the first round to the result: the loop with its metrics, resumable at any moment.

The loop is a generator of rows, one per round, so that a progress bar, a test or a notebook can
stand around it without callbacks.
"""

import math
import platform
import time
from collections.abc import Generator
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

import sparsefed
from sparsefed.defenses import GaussianNoise
from sparsefed.experiment import Experiment
from sparsefed.federation import Federation, RoundReport, ServerState, run_round
from sparsefed.metrics import chance, class_accuracies, evaluate, outsized_impact
from sparsefed.privacy import guarantee
from sparsefed.record import Record, Row, Saved

__all__ = ["METRICS", "play", "simulate"]

METRICS = (
    "test_accuracy",
    "test_accuracy_rest",
    "attack_accuracy",
    "attack_accuracy_mean",
    "attack_accuracy_max",
    "attack_accuracy_at_leave",
    "persistence_rounds",
    "oif",
    "loss",
    "stealth_loss",
    "twin_test_accuracy",
    "twin_attack_accuracy",
    "distance_l1",
    "distance_l2",
    "epsilon",
    "delta",
    "rounds",
    "clients",
    "compromised",
    "params",
    "rejected",
    "bytes_up_per_client",
    "bytes_down_per_client",
    "seconds_honest",
    "seconds_attack",
    "seconds_server",
)
"""The numbers in a result, from which a table's metrics are chosen; not every run has them all."""

SECONDS_BETWEEN_CHECKPOINTS = 10.0


def simulate(experiment: Experiment, runs: Path | str | None = None) -> Row:
    """Run an experiment to its end and return its result (see `docs/results-format.md`).

    With `runs`, everything is kept in `runs/<digest>`: a run that was stopped goes on where it was,
    and one that has ended is read, not repeated.
    """
    rows = play(experiment, runs)
    while True:
        try:
            next(rows)
        except StopIteration as end:
            return end.value


def play(experiment: Experiment, runs: Path | str | None = None) -> Generator[Row, None, Row]:
    """`simulate`, seen round by round: yields a row per round done now, returns the result."""
    if runs is None:
        return (yield from _rounds(Federation.of(experiment), None))
    with Record(Path(runs), experiment).opened() as record:
        if (result := record.result) is not None:
            return result
        return (yield from _rounds(Federation.of(experiment), record))


def _rounds(fed: Federation, record: Record | None) -> Generator[Row, None, Row]:
    state, rows = fed.initial_state, []
    twin = state if fed.spec.twin and fed.spec.attack is not None else None
    if record is not None and (saved := record.load(state)) is not None:
        state, twin, rows = saved
    looks = partial(evaluate, fed.network, dataset=fed.dataset, auxiliary=fed.auxiliary)
    last_save, outcome = -math.inf, "trained"  # the first round is saved: a bad disk shows at once
    try:
        while state.round < fed.spec.rounds and outcome == "trained":
            after, report = run_round(fed, state)
            twin_after = run_round(fed, twin, poisoned=False)[0] if twin is not None else None
            row: Row = {"round": after.round, **report._asdict(), **report.diagnosis}
            del row["diagnosis"]
            if fed.evaluated(after.round):
                row |= looks(params=after.params)._asdict()
                if twin_after is not None:
                    row |= {
                        f"twin_{name}": value
                        for name, value in looks(params=twin_after.params)._asdict().items()
                    }
            outcome = _outcome(after, report, row)
            state, twin = after, twin_after
            rows.append({name: _plain(value) for name, value in row.items()})
            if record is not None and time.monotonic() - last_save > SECONDS_BETWEEN_CHECKPOINTS:
                record.save(Saved(state, twin, rows))
                last_save = time.monotonic()
            yield rows[-1]
    finally:  # also on Ctrl-C, and when the caller stops listening: nothing that was computed is lost
        if record is not None and state.round == len(rows):
            record.save(Saved(state, twin, rows))
    result = _result(fed, state, twin, rows, outcome)
    if record is not None:
        record.finish(result)
    return result


def _outcome(state: ServerState, report: RoundReport, row: Row) -> str:
    nothing_left = math.isnan(report.honest_norm) and report.rejected > 0
    finite = math.isfinite(float(state.params.sum())) and math.isfinite(row.get("loss", 0.0))
    return "diverged" if nothing_left or not finite else "trained"


def _result(
    fed: Federation, state: ServerState, twin: ServerState | None, rows: list[Row], outcome: str
) -> Row:
    # A look before the ruin says nothing of the model that is left.
    looks = [row for row in rows if "test_accuracy" in row] if outcome == "trained" else []
    final = looks[-1] if looks else {}
    if outcome == "trained" and final["test_accuracy"] < 1.5 * chance(fed.dataset):
        outcome = "did not converge"
    result: Row = {
        "digest": fed.spec.digest(),
        "outcome": outcome,
        "rounds": state.round,
        **{
            name: final.get(name)
            for name in ("test_accuracy", "test_accuracy_rest", "attack_accuracy", "loss")
        },
        "clients": len(fed.population),
        "compromised": int(fed.compromised.sum()),
        "params": fed.network.size,
        "rejected": sum(row["rejected"] for row in rows),
        **_attack_result(fed, looks),
        **_persistence(fed, looks),
        **(_twin_result(fed, state, twin, final) if twin is not None else {}),
        **_privacy(fed),
        **_cost(fed, rows),
        "environment": _environment(fed.spec.device),
    }
    return {name: _plain(value) for name, value in result.items()}


def _attack_result(fed: Federation, looks: list[Row]) -> Row:
    """Attack accuracy over the last epoch, and what it amounts to."""
    if fed.auxiliary is None or not looks:
        return {}
    since = looks[-1]["round"] - fed.rounds_per_epoch
    late = [row["attack_accuracy"] for row in looks if row["round"] > since]
    share = fed.attack.presence.share(fed.compromised, fed.spec.cohort)
    points, examples = len(fed.auxiliary.aims.labels), len(fed.population.indices)
    return {
        "attack_accuracy_mean": fmean(late),
        "attack_accuracy_max": max(late),
        "oif": outsized_impact(looks[-1]["attack_accuracy"], points, share, examples),
    }


def _persistence(fed: Federation, looks: list[Row]) -> Row:
    """For how many rounds at least half of what the attackers gained outlives them; None if to the end."""
    left = fed.spec.attack.presence.ends if fed.spec.attack is not None else None
    seen = [(row["round"], row["attack_accuracy"]) for row in looks]
    after = [(round, hit) for round, hit in seen if left is not None and round >= left]
    if fed.auxiliary is None or len(after) < 2:
        return {}
    (left, start), *later = after
    floor = next((hit for round, hit in reversed(seen) if round < fed.attack.presence.starts), 0.0)
    half = floor + (start - floor) / 2
    persistence = next((round - left for round, hit in later if hit < half), None) if start > floor else 0
    return {"attack_accuracy_at_leave": start, "persistence_rounds": persistence}


def _twin_result(fed: Federation, state: ServerState, twin: ServerState, final: Row) -> Row:
    """How far the attack moved the model from the one it would have been (Definition 2), and its price."""
    difference = state.params - twin.params
    ours, theirs = (
        class_accuracies(fed.network, params, fed.dataset, fed.auxiliary)
        for params in (state.params, twin.params)
    )
    lost = [_plain(_lost(before, after)) for before, after in zip(theirs, ours, strict=True)]
    return {
        "stealth_loss": _lost(final.get("twin_test_accuracy_rest"), final.get("test_accuracy_rest")),
        "stealth_loss_by_class": lost,
        "twin_test_accuracy": final.get("twin_test_accuracy"),
        "twin_attack_accuracy": final.get("twin_attack_accuracy"),
        "distance_l1": float(torch.linalg.vector_norm(difference, 1)),
        "distance_l2": float(torch.linalg.vector_norm(difference)),
    }


def _lost(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else before - after


def _privacy(fed: Federation) -> Row:
    """What the noise of the server gives; nothing to say of a server that makes none."""
    if not isinstance(fed.spec.defense, GaussianNoise):
        return {}
    epsilon, delta, why = guarantee(fed)
    return {"epsilon": epsilon, "delta": delta, "privacy": why}


def _cost(fed: Federation, rows: list[Row]) -> Row:
    up, down = fed.spec.defense.traffic(fed.network.size)
    word = torch.finfo(getattr(torch, fed.spec.precision)).bits // 8
    parts = ("seconds_honest", "seconds_attack", "seconds_server")
    return {
        "bytes_up_per_client": up * word,
        "bytes_down_per_client": down * word,
        **{name: sum(row[name] for row in rows) for name in parts},
    }


def _environment(device: str) -> dict[str, Any]:
    return {
        "sparsefed": sparsefed.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else "cpu",
        "threads": torch.get_num_threads(),
    }


def _plain(value: Any) -> Any:
    """NaN and infinity are not JSON: None stands for them."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
