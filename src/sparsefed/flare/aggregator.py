"""FLARE's aggregator under a defense of this package; it trusts nothing that a client sends."""

# pyright: reportMissingImports=false
# FLARE is installed in an environment of its own (make test-deploy).

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from nvflare.app_common.abstract.fl_model import FLModel, ParamsType
from nvflare.app_common.aggregators.model_aggregator import ModelAggregator
from nvflare.app_common.app_constant import AppConstants

from sparsefed.core.errors import SpecError
from sparsefed.server import Keeper, Round, Rules, Upload, medians

__all__ = ["RobustAggregator"]


class RobustAggregator(ModelAggregator):
    """Holds the server's state and takes one model per client and round; `RobustFedAvg` drives it.

    A result that is a second one, of another round, a difference rather than a model, or not of the server's
    names and shapes is left out. A round with fewer usable updates than the rules need leaves the model as it
    is. With `checkpoint`, the state is on disk after every round, and another job resumes after the last one.
    """

    def __init__(self, rules: Rules | dict[str, Any], checkpoint: str | None = None) -> None:
        super().__init__()
        # As FLARE writes a component's arguments into the job: as JSON.
        self.rules = rules.to_dict() if isinstance(rules, Rules) else rules
        self.checkpoint = checkpoint
        self.report: Round | None = None
        """What happened in the latest round, client by client."""
        self._keeper: Keeper | None = None
        self._found = dict[str, FLModel | str]()

    @property
    def keeper(self) -> Keeper:
        """The state, after `begin`."""
        if self._keeper is None:
            raise SpecError(
                "expected a RobustAggregator in RobustFedAvg, found another workflow: use RobustRecipe"
            )
        return self._keeper

    def begin(self, arrays: Mapping[str, np.ndarray], rounds: int) -> Keeper:
        """Start from the model `arrays`, or go on from the checkpoint; `rounds` in all."""
        self._keeper = Keeper(Rules(**self.rules).but(rounds=rounds), arrays, self.checkpoint)
        return self._keeper

    def ask(self, clients: Iterable[str]) -> None:
        """Take one result of each of these clients, until the round is over."""
        self._found = dict.fromkeys(clients, "expected a result, found none")

    def params(self) -> dict[str, np.ndarray]:
        """The model, in memory that others may write to."""
        return {name: array.copy() for name, array in self.keeper.arrays().items()}

    def reset_stats(self) -> None:
        self._found = {}

    def accept_model(self, model: FLModel) -> None:
        client = model.meta["client_name"]  # the server wrote it there, whatever the client sent
        if isinstance(self._found.get(client), str):
            self._found[client] = model
        else:
            self.warning(f"{client}: another result, or one that nobody asked for")

    def aggregate_model(self) -> FLModel:
        found, self._found = self._found, {}
        round = self.keeper.round + 1
        self.report = report = self.keeper.step(
            [Upload(client, _arrays(found[client], round)) for client in sorted(found)]
        )
        for line in report.warnings():
            self.warning(line)
        if self.fl_ctx is not None:  # for widgets of the server; `meta` would go to every client
            self.fl_ctx.set_prop(AppConstants.AGGREGATION_STATS, report.numbers(), private=True, sticky=False)
        metrics = medians((_metrics(result) for result in found.values()), len(found))
        return FLModel(ParamsType.FULL, self.params(), metrics=metrics or None)

    def close(self) -> None:
        """Let another process use the checkpoint."""
        if self._keeper is not None:
            self._keeper.close()


def _arrays(result: FLModel | str, round: int) -> Any:
    """A client's arrays by name, or what was found in their place."""
    if isinstance(result, str):
        return result
    if result.params_type != ParamsType.FULL:
        return f"expected a whole model, found {result.params_type}"
    if result.current_round not in (None, round - 1):  # FLARE counts rounds from 0
        return f"expected a result of round {round}, found one of another"
    return result.params


def _metrics(result: FLModel | str) -> Mapping[str, Any]:
    return {} if isinstance(result, str) or result.metrics is None else result.metrics
