"""What happened in a round, as Flower's metrics: numbers, and lists of numbers."""

# pyright: reportMissingImports=false
# Flower is installed in an environment of its own (make test-deploy).

from collections.abc import Mapping

from flwr.app import MetricRecord

from sparsefed.server import Round

__all__ = ["metrics_of"]


def metrics_of(report: Round, medians: Mapping[str, float]) -> MetricRecord:
    """The round in numbers, who was clipped and left out by node id, and the nodes' own metrics.

    `norms`, `clips` and `shares` are in the order of `nodes`: each update's norm as sent, what the clip
    multiplied it with, and how much of it the defense took in. NaN stands for what there is none of.
    """
    nodes = report.nodes
    return MetricRecord(
        {
            "round": report.round,
            "skipped": int(bool(report.skipped)),
            "clip-norm": report.clip_norm,
            "admitted": sum(not node.problem for node in nodes),
            "nodes": [node.client for node in nodes],
            "norms": [node.norm for node in nodes],
            "clips": [node.clip for node in nodes],
            "shares": [node.share for node in nodes],
            "clipped": [node.client for node in nodes if not node.problem and node.clip < 1],
            "left-out": [node.client for node in nodes if node.problem],
            **{name: float("nan") if value is None else value for name, value in report.diagnosis.items()},
            **{f"median-{name}": value for name, value in medians.items()},
        }
    )
