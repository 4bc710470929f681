"""What a result contains: outcome, accuracies, the attack's cost and persistence, twin, privacy, traffic."""

import math
import platform
from importlib.metadata import version
from statistics import fmean
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sparsefed.core.memories import leaves
from sparsefed.core.text import amount
from sparsefed.defenses.privacy import Exposure
from sparsefed.federation.metrics import Evaluation, outsized_impact
from sparsefed.federation.round import Federation, ServerState
from sparsefed.kernels import all_finite
from sparsefed.runs.record import Row

__all__ = ["METRICS", "compose", "environment", "exposure", "is_ruined", "plain"]

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
    "error_avoided",
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
    "attackers_rejected",
    "skipped",
    "bytes_up_per_client",
    "bytes_down_per_client",
    "seconds_honest",
    "seconds_attack",
    "seconds_server",
)
"""The numbers in a result, from which a table's metrics are chosen; not every run has them all."""


LEARNED = 5.0
"""Percent of the errors of a guess that a model must avoid to count as trained; the best guess is to name the
most common label. Where that is the best that anyone can do, the outcome says no more than this."""


def is_ruined(fed: Federation, state: ServerState, row: Row) -> bool:
    """Whether nothing can come after this round: the model, or every honest update, is not finite."""
    no_honest = fed.spec.cohort > row["compromised"] and row["honest_norm"] is None
    return no_honest or row.get("loss", 0.0) is None or not all_finite(state.params)


def compose(fed: Federation, state: ServerState, twin: ServerState | None, rows: list[Row]) -> Row:
    """The result of a run, as JSON can hold it."""
    ruined = is_ruined(fed, state, rows[-1])
    # A look before the ruin says nothing of the model that is left.
    looks = [row for row in rows if "test_accuracy" in row] if not ruined else []
    final = looks[-1] if looks else {}
    skipped = [row["skipped"] for row in rows if row["skipped"] is not None]
    result: Row = {
        "digest": fed.spec.digest(),
        "outcome": _outcome(ruined, final, len(skipped) == len(rows)),
        "rounds": state.round,
        **{name: final.get(name) for name in Evaluation._fields},
        "clients": len(fed.population),
        "compromised": int(fed.compromised.sum()),
        "params": fed.network.size,
        "rejected": sum(row["rejected"] for row in rows),
        "skipped": len(skipped),
        **({"skipped_because": skipped[-1]} if skipped else {}),
        **({"labels": list(fed.dataset.labels)} if fed.dataset.labels is not None else {}),
        **_uploads(rows),
        **_attack_result(fed, looks),
        **_persistence(fed, looks),
        **(_twin_result(fed, state, twin, final) if twin is not None else {}),
        **_privacy(fed),
        **_cost(fed, rows),
        **_stretches(rows),
    }
    return {name: plain(value) for name, value in result.items()}


def _outcome(ruined: bool, final: Row, none_done: bool) -> str:
    """In words what became of the run; the numbers beside it say how much."""
    if ruined:
        return "diverged"
    if none_done:
        return "every round skipped"
    avoided = final["error_avoided"]
    return "trained" if avoided is None or avoided >= LEARNED else "no better than guessing"


def _stretches(rows: list[Row]) -> Row:
    """Where the run was made: the environment of its end, and every stretch if it changed on the way."""
    made = [(row["round"], row["environment"]) for row in rows if "environment" in row]
    found = {"environment": made[-1][1]}
    if any(where != made[0][1] for _, where in made):
        found["stretches"] = [{"from_round": round, **where} for round, where in made]
    return found


def _uploads(rows: list[Row]) -> Row:
    """How many uploads of attackers were rejected, and in words where none of them did anything."""
    names = ("compromised", "attackers_rejected", "attackers_idle")
    sent, rejected, idle = (sum(row.get(name, 0) for row in rows) for name in names)
    if sent == 0:
        return {}
    why = f"none: all {amount(sent, 'upload')} of the attackers were rejected or zero"
    return {"attackers_rejected": rejected, **({"attack": why} if idle == sent else {})}


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
    theirs, ours = (final.get(key) or [] for key in ("twin_accuracy_by_class", "accuracy_by_class"))
    lost = [_lost(before, after) for before, after in zip(theirs, ours, strict=True)]
    return {
        "stealth_loss": _lost(final.get("twin_test_accuracy_rest"), final.get("test_accuracy_rest")),
        "stealth_loss_by_class": lost,
        "twin_test_accuracy": final.get("twin_test_accuracy"),
        "twin_attack_accuracy": final.get("twin_attack_accuracy"),
        "distance_l1": float(torch.linalg.vector_norm(difference, 1)),
        "distance_l2": float(torch.linalg.vector_norm(difference)),
    }


def _lost(before: float | None, after: float | None) -> float | None:
    """Percentage points between two shares, without what subtraction leaves of equal ones."""
    return None if before is None or after is None else round(before - after, 9) + 0.0


def _privacy(fed: Federation) -> Row:
    """What the noise of the server gives; nothing to say of a server that makes none."""
    guarantee = fed.spec.defense.privacy(exposure(fed))
    if guarantee is None:
        return {}
    return {"epsilon": guarantee.epsilon, "delta": guarantee.delta, "privacy": guarantee.why}


def exposure(fed: Federation) -> Exposure:
    """What the run does with one client's data."""
    spec, memory = fed.spec, fed.spec.clip.init()
    lrs = [spec.schedule.lr(t, spec.rounds) for t in range(1, spec.rounds + 1)]
    return Exposure(
        clip_norm=max(spec.clip.norm_at(lr, memory) for lr in lrs),
        clip_learns=any(torch.as_tensor(leaf).numel() for _, leaf in leaves(memory)),
        cohort=spec.cohort,
        lr=max(map(spec.clients.server_lr, lrs)),
        times=math.ceil(spec.rounds / fed.rounds_per_epoch),
        rounds=spec.rounds,
        clients=len(fed.population),
    )


def _cost(fed: Federation, rows: list[Row]) -> Row:
    up, down = fed.spec.defense.traffic(fed.network.size)
    word = torch.finfo(fed.spec.dtype).bits // 8
    parts = ("seconds_honest", "seconds_attack", "seconds_server")
    return {
        "bytes_up_per_client": fed.spec.aggregation.bytes_up(up, word),
        "bytes_down_per_client": down * word,
        **{name: sum(row[name] for row in rows) for name in parts},
    }


def environment(device: str) -> dict[str, Any]:
    """Versions, machine, device and threads, on which a run's last bits depend."""
    return {
        "sparsefed": version("sparsefed"),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else "cpu",
        "threads": torch.get_num_threads(),
    }


def plain(value: Any) -> Any:
    """A value as JSON can hold it: NumPy's and PyTorch's numbers as Python's, None for NaN and infinity."""
    if isinstance(value, Tensor | np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
