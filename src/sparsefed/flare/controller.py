"""FLARE's `FedAvg` workflow, which no client can stop."""

# pyright: reportMissingImports=false
# FLARE is installed in an environment of its own (make test-deploy).

from collections.abc import Callable
from typing import Any

from nvflare.app_common.abstract.fl_model import FLModel
from nvflare.app_common.workflows.fedavg import FedAvg

from sparsefed.flare.aggregator import RobustAggregator

__all__ = ["RobustFedAvg"]


class RobustFedAvg(FedAvg):
    """`FedAvg` around a `RobustAggregator`: its clients, its checkpoint, and a time limit for each round.

    FLARE's own stops the job when a client reports an error, and waits for ever for one that is silent. Here
    both cost that client its round. `timeout` is how many seconds clients have for a round. They find λ of
    the round as `lr` in the model's `meta`.
    """

    # By the names `args` and `kwargs` FLARE knows that it must also write down the parameters of the parents.
    def __init__(self, *args: Any, aggregator: RobustAggregator, timeout: int = 3600, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "aggregator": aggregator, "ignore_result_error": True})
        self.aggregator: RobustAggregator = aggregator
        self.timeout = timeout

    def run(self) -> None:
        try:
            super().run()
        finally:
            self.aggregator.close()

    def load_model(self) -> FLModel:
        """The model of the checkpoint, if there is one; `num_rounds` counts the rounds that are done."""
        model = super().load_model()
        done = self.aggregator.begin(model.params, self.num_rounds).round
        self.start_round, self.num_rounds = done, max(0, self.num_rounds - done)
        if done:
            self.info(f"going on after round {done}, saved in {self.aggregator.checkpoint}")
        model.params = self.aggregator.params()
        return model

    def sample_clients(self, num_clients: int | None = None) -> list[str]:
        """Who takes part in the round follows from the seed, the round and who is there."""
        names, keeper = [client.name for client in self.engine.get_clients()], self.aggregator.keeper
        return keeper.rules.drawn(names, num_clients or len(names), keeper.round + 1)

    def send_model(  # noqa: PLR0917
        self,
        task_name: str = "train",
        data: FLModel | None = None,
        targets: list[str] | None = None,
        min_responses: int | None = None,
        timeout: int = 0,
        callback: Callable[[FLModel], None] | None = None,
    ) -> None:
        keeper = self.aggregator.keeper
        self.aggregator.ask(targets or ())
        assert data is not None
        data.meta = {**data.meta, "lr": keeper.rules.lr(keeper.round + 1)}
        super().send_model(task_name, data, targets, min_responses, timeout or self.timeout, callback)
