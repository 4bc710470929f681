"""A Flower strategy that aggregates by a defense of this package and trusts nothing that a node sends."""

# pyright: reportMissingImports=false
# Flower is installed in an environment of its own (make test-deploy).

from collections.abc import Callable, Iterable, Mapping
from logging import INFO, WARNING
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MessageType, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAvg, Result
from flwr.serverapp.strategy.strategy_utils import sample_nodes
from flwr.supercore import log

from sparsefed.core.errors import SpecError
from sparsefed.defenses import Defense
from sparsefed.federation.experiment import Experiment
from sparsefed.flower.grid import HardenedGrid
from sparsefed.flower.replies import attributed, named_arrays, node_metrics, uploads
from sparsefed.protocol.clips import Clip
from sparsefed.server import Keeper, Round, Rules

__all__ = ["RobustStrategy"]

R = TypeVar("R")


class RobustStrategy(FedAvg):
    """Federated learning under a defense: the `defense` and the `clip` are those of an experiment.

    Nodes send their models, and each counts once, whatever example count it claims. A reply that is late,
    replayed, a second one, or not a model of the server's names and shapes is left out. A round with fewer
    usable updates than `least`, or than the defense needs, leaves the model as it is. With `checkpoint`, the
    state is on disk after every round, and a server that is started again resumes after the last one, to the
    same bits as if it had never stopped.

    The nodes are told λ of the round as `lr` and its number as `server-round`. `rules` are further keys of
    `sparsefed.server.Rules`: `anchor`, `schedule`, `clients`, `least`, `seed`. The others are `FedAvg`'s.
    """

    def __init__(
        self,
        defense: Defense,
        clip: Clip,
        *,
        checkpoint: Path | str | None = None,
        fraction_train: float = 1.0,
        fraction_evaluate: float = 1.0,
        min_train_nodes: int = 2,
        min_evaluate_nodes: int = 2,
        min_available_nodes: int = 2,
        **rules: Any,
    ) -> None:
        nodes = (fraction_train, fraction_evaluate, min_train_nodes, min_evaluate_nodes, min_available_nodes)
        super().__init__(*nodes)
        self.rules = Rules(defense=defense, clip=clip, **rules)
        self.checkpoint = checkpoint
        self.report: Round | None = None
        """What happened in the latest round, node by node."""
        self._keeper: Keeper | None = None
        self._asked: list[Message] = []

    @classmethod
    def of(cls, experiment: Experiment, **others: Any) -> Self:
        """The strategy that follows the rules of a simulated experiment's server."""
        return cls(**{**dict(Rules.of(experiment)), **others})

    def start(  # noqa: PLR0917
        self,
        grid: Grid,
        initial_arrays: ArrayRecord,
        num_rounds: int = 3,
        timeout: float = 3600,
        train_config: ConfigRecord | None = None,
        evaluate_config: ConfigRecord | None = None,
        evaluate_fn: Callable[[int, ArrayRecord], MetricRecord | None] | None = None,
    ) -> Result:
        """`num_rounds` rounds in all, those in the checkpoint included; else as Flower's own `start`."""
        rules = self.rules.but(rounds=num_rounds)
        self._keeper = keeper = Keeper(rules, named_arrays(initial_arrays), self.checkpoint)
        done = keeper.round
        if done:
            log(INFO, "going on after round %d, saved in %s", done, self.checkpoint)
        try:
            result = super().start(
                HardenedGrid(grid),  # pyright: ignore[reportArgumentType]
                _record(keeper.arrays()),
                max(0, num_rounds - done),
                timeout,
                train_config,
                evaluate_config,
                evaluate_fn and (lambda round, arrays: evaluate_fn(done + round, arrays)),
            )
        finally:
            keeper.close()
        return Result(
            _record(keeper.arrays()),
            _later(result.train_metrics_clientapp, done),
            _later(result.evaluate_metrics_clientapp, done),
            _later(result.evaluate_metrics_serverapp, done),
        )

    def summary(self) -> None:
        log(INFO, "\t├──> Rules: %s", self._running().rules)
        super().summary()

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> list[Message]:
        keeper = self._running()
        round = config["server-round"] = keeper.round + 1
        config["lr"] = keeper.rules.lr(round)
        nodes = self._drawn(grid, round, self.fraction_train, self.min_train_nodes)
        return self._ask(nodes, MessageType.TRAIN, arrays, config)

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        keeper = self._running()
        contents, strangers = attributed(self._asked, replies)
        self.report = report = keeper.step(uploads(contents))
        for line in (*(f"round {report.round}: {each}" for each in strangers), *report.warnings()):
            log(WARNING, "%s", line)
        arrays = None if report.skipped else _record(keeper.arrays())
        reported = {f"median-{name}": value for name, value in node_metrics(contents).items()}
        return arrays, MetricRecord({**report.numbers(), **reported})

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> list[Message]:
        round = config["server-round"] = self._running().round
        nodes = self._drawn(grid, round, self.fraction_evaluate, self.min_evaluate_nodes)
        return self._ask(nodes, MessageType.EVALUATE, arrays, config)

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        contents, _ = attributed(self._asked, replies)
        return MetricRecord(dict(node_metrics(contents))) if contents else None

    def _running(self) -> Keeper:
        if self._keeper is None:
            raise SpecError("expected a strategy that was begun with `start`, found one without a state")
        return self._keeper

    def _drawn(self, grid: Grid, round: int, fraction: float, least: int) -> list[int]:
        """The nodes of a round: who they are follows from the seed, the round and who is there."""
        if fraction == 0:
            return []
        _, there = sample_nodes(grid, max(self.min_available_nodes, least), 0)
        return self.rules.drawn(there, max(int(fraction * len(there)), least), round)

    def _ask(self, nodes: list[int], kind: str, arrays: ArrayRecord, config: ConfigRecord) -> list[Message]:
        """The same message for every node, remembered to know the replies by."""
        content = RecordDict({self.arrayrecord_key: arrays, self.configrecord_key: config})
        self._asked = [Message(content, node, kind) for node in nodes]
        return self._asked


def _record(arrays: Mapping[str, np.ndarray]) -> ArrayRecord:
    return ArrayRecord({name: Array(array) for name, array in arrays.items()})


def _later(records: dict[int, R], done: int) -> dict[int, R]:
    """Metrics by the number of the round, counting those before the restart."""
    return {done + round: record for round, record in records.items()}
