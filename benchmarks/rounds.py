"""One round of 100 clients with 5 examples each, small CNN, in this project and in two others."""

import logging
import os
import queue
import threading
from collections.abc import Callable, Mapping
from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.harness import Contender, Goal, Row, Skip
from sparsefed.clients import Gradient, LocalData, Work
from sparsefed.defenses import SparseFed
from sparsefed.models import CNN
from sparsefed.models.network import Network

CLIENTS, EXAMPLES, CLIP, LR = 100, 5, 1.0, 0.1


def examples(clients: int = CLIENTS) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    inputs = torch.randn(clients * EXAMPLES, 1, 28, 28, generator=draw)
    return inputs, torch.randint(10, (clients * EXAMPLES,), generator=draw)


def network() -> Network:
    return CNN().network((1, 28, 28), 10, seed=0)


def ours(clients: int = CLIENTS) -> Contender:
    """Clipped gradients, momentum, error feedback and top-k: more than either of the others does."""
    net, rule = network(), SparseFed(k=5_000, momentum=0.9)
    server = SimpleNamespace(params=net.vector(), memory=rule.init(net.vector()), round=0)
    data = LocalData(np.arange(clients), *examples(clients), np.full(clients, EXAMPLES))

    def one_round() -> None:
        server.round += 1
        work = Work(net, server.params, data, lr=LR, seed=0, round=server.round)
        updates = Gradient().updates(work).admitted(CLIP)
        delta, server.memory = rule.step(updates, server.memory, LR)
        server.params = server.params - delta

    return one_round


def pfl_round() -> Contender:
    """FedAvg with one local step and a norm clip, by pfl's own parts; no evaluation, no top-k."""
    try:
        from pfl.aggregate.simulate import SimulatedBackend
        from pfl.algorithm.base import NNAlgorithmParams
        from pfl.algorithm.federated_averaging import FederatedAveraging
        from pfl.data.dataset import Dataset
        from pfl.data.federated_dataset import FederatedDataset
        from pfl.hyperparam.base import NNEvalHyperParams, NNTrainHyperParams
        from pfl.model.pytorch import PyTorchModel
        from pfl.privacy.privacy_mechanism import NormClippingOnly
    except ImportError as error:
        raise Skip(f"{error}; needs pfl 0.6.0: make bench-peers") from error
    module = network().module
    module.loss = lambda x, y: nn.functional.cross_entropy(module(x), y)
    module.metrics = lambda x, y: {}
    model = PyTorchModel(module, torch.optim.SGD, torch.optim.SGD(module.parameters(), lr=1.0))
    inputs, labels = (part.split(EXAMPLES) for part in examples())
    turn = iter(range(10**9))
    clients = FederatedDataset(
        lambda user: Dataset((inputs[user], labels[user])), lambda: next(turn) % CLIENTS
    )
    backend = SimulatedBackend(clients, clients, [NormClippingOnly(2, CLIP * LR)])
    algorithm, evaluation = FederatedAveraging(), NNEvalHyperParams(None)
    training = NNTrainHyperParams(
        local_batch_size=None, local_num_epochs=1, local_learning_rate=LR, local_max_grad_norm=None
    )
    never = NNAlgorithmParams(10**9, 10**9, CLIENTS, None)

    def one_round() -> None:
        contexts, _, _ = algorithm.get_next_central_contexts(model, 1, never, training, evaluation)
        gathered, metrics = backend.gather_results(model, algorithm, central_context=contexts[0])
        algorithm.process_aggregated_statistics(contexts[0], metrics, model, gathered)

    return one_round


def flower_round() -> Contender:
    """FedAvg with one local step in Flower's simulation, one Ray worker per core; no clip, no top-k."""
    os.environ |= {"FLWR_TELEMETRY_ENABLED": "0", "RAY_USAGE_STATS_ENABLED": "0"}
    try:
        import ray  # noqa: F401
        from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict
        from flwr.clientapp import ClientApp
        from flwr.serverapp import ServerApp
        from flwr.serverapp.strategy import FedAvg
        from flwr.simulation import run_simulation
    except ImportError as error:
        raise Skip(f"{error}; needs flwr[simulation] 1.41.0: make bench-peers") from error
    logging.getLogger("flwr").setLevel(logging.ERROR)
    client, server = ClientApp(), ServerApp()

    @client.train()
    def train(message: Message, context) -> Message:
        module = network().module
        module.load_state_dict(message.content["arrays"].to_torch_state_dict())
        number = context.node_config["partition-id"]
        inputs, labels = (part.split(EXAMPLES)[number] for part in examples())
        optimizer = torch.optim.SGD(module.parameters(), lr=LR)
        nn.functional.cross_entropy(module(inputs), labels).backward()
        optimizer.step()
        metrics = MetricRecord({"num-examples": len(inputs)})
        content = RecordDict({"arrays": ArrayRecord(module.state_dict()), "metrics": metrics})
        return Message(content=content, reply_to=message)

    orders: queue.Queue[Callable[[], None] | None] = queue.Queue()
    done: queue.Queue[object] = queue.Queue()

    @server.main()
    def main(grid, context) -> None:
        strategy = FedAvg(fraction_train=1.0, fraction_evaluate=0.0, min_available_nodes=CLIENTS)
        arrays = ArrayRecord(network().module.state_dict())
        while orders.get():
            arrays = strategy.start(grid, arrays, num_rounds=1).arrays
            done.put(arrays)

    def simulate() -> None:
        resources = {"client_resources": {"num_cpus": 1, "num_gpus": 0.0}}
        run_simulation(server, client, num_supernodes=CLIENTS, backend_config=resources)

    threading.Thread(target=simulate, daemon=True).start()

    def one_round() -> None:
        orders.put(one_round)
        done.get(timeout=300)

    return one_round


def race(name: str, rival: Callable[[], Contender]) -> Mapping[str, Contender]:
    return {"sparsefed": ours(), name: rival()}


TITLE = "round of 100 × 5, small CNN: times faster than"
ROWS = {
    "round_pfl": Row(
        f"{TITLE} pfl 0.6",
        Goal("≥", 5),
        lambda: race("pfl", pfl_round),
        seconds=40,
        note="our round is near the fastest plain step (engine_cnn); a fifth of pfl's is less than that",
    ),
    "round_flower": Row(
        f"{TITLE} Flower's simulation",
        Goal("≥", 30),
        lambda: race("flower", flower_round),
        seconds=60,
        note="a thirtieth of Flower's round would be half the time of the fastest plain step",
    ),
}
