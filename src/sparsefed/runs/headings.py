"""Column heads for the numbers of a result: the field's words, with units."""

__all__ = ["decimals", "heading"]

HEADINGS = {
    "test_accuracy": "test accuracy, %",
    "test_accuracy_rest": "test accuracy excluding targets, %",
    "attack_accuracy": "attack accuracy (ASR), %",
    "attack_accuracy_mean": "mean ASR in the last epoch, %",
    "attack_accuracy_max": "maximum ASR in the last epoch, %",
    "attack_accuracy_at_leave": "ASR when the attackers leave, %",
    "persistence_rounds": "persistence, rounds",
    "oif": "outsized impact factor",
    "stealth_loss": "stealth loss, percentage points",
    "twin_test_accuracy": "test accuracy without attack, %",
    "twin_attack_accuracy": "ASR without attack, %",
    "distance_l1": "ℓ1 distance to the unattacked model",
    "distance_l2": "ℓ2 distance to the unattacked model",
    "seconds_honest": "honest work, s",
    "seconds_attack": "attack, s",
    "seconds_server": "server, s",
}


def heading(metric: str) -> str:
    """The head of a metric's column; a metric that is not listed is named by its key."""
    return HEADINGS.get(metric, metric.replace("_", " "))


def decimals(metric: str) -> int:
    """How many decimals of a metric are worth printing."""
    return 3 if metric == "oif" else 1
