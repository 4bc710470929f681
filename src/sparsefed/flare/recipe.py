"""FLARE's recipe for federated averaging, under a defense."""

# pyright: reportMissingImports=false
# FLARE is installed in an environment of its own (make test-deploy).

from pathlib import Path
from typing import Any

from nvflare.app_opt.pt.recipes.fedavg import FedAvgRecipe

from sparsefed.flare.aggregator import RobustAggregator
from sparsefed.flare.controller import RobustFedAvg
from sparsefed.server import Rules

__all__ = ["RobustRecipe"]


class RobustRecipe(FedAvgRecipe):
    """`FedAvgRecipe` for PyTorch, but the server follows `rules`; the other arguments are that recipe's.

    `Rules.of(experiment)` are the rules of a simulated experiment. The path `checkpoint` is on the server.
    A round takes at most `timeout` seconds.
    """

    def __init__(
        self, rules: Rules, *, checkpoint: Path | str | None = None, timeout: int = 3600, **others: Any
    ) -> None:
        self.timeout = timeout
        path = None if checkpoint is None else str(checkpoint)
        super().__init__(aggregator=RobustAggregator(rules, path), **others)
        self._job.set_app_packages(["sparsefed"])  # installed on the server: not part of the job

    def _create_controller(
        self, persistor_id: str, model_params: Any, model_aggregator: RobustAggregator
    ) -> RobustFedAvg:
        return RobustFedAvg(
            num_clients=self.min_clients,
            num_rounds=self.num_rounds,
            persistor_id=persistor_id,
            model=model_params,
            save_filename=self.save_filename,
            aggregator=model_aggregator,
            stop_cond=self.stop_cond,
            patience=self.patience,
            memory_gc_rounds=self.server_memory_gc_rounds,
            timeout=self.timeout,
        )
