"""The server: plain FedAvg, or the same federation under SparseFed with a clip."""

import numpy as np
from flwr.app import Array, ArrayRecord, Context, MetricRecord
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

import sparsefed as sf
from sparsefed.flower import RobustStrategy

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Some rounds; the accuracy on the test digits is printed after each."""
    config = context.run_config
    data = np.load(config["data"])
    nodes = {"fraction_evaluate": 0.0, "min_train_nodes": 3, "min_available_nodes": 3}
    if config["strategy"] == "FedAvg":
        strategy = FedAvg(**nodes)
    else:
        defense, clip = sf.SparseFed(k=300, momentum=0.5), sf.FixedClip(norm=1.5)
        checkpoint = config["checkpoint"] or None
        strategy = RobustStrategy(defense, clip, checkpoint=checkpoint, **nodes)

    def accuracy(round: int, arrays: ArrayRecord) -> MetricRecord:
        weight, bias = arrays.to_numpy_ndarrays()
        hits = (data["x_test"] @ weight + bias).argmax(axis=1) == data["y_test"]
        print(
            f"{config['strategy']}, after round {round}: {100 * hits.mean():.1f} % of the test digits",
            flush=True,
        )
        return MetricRecord({"accuracy": float(hits.mean())})

    start = {"weight": Array(np.zeros((64, 10), np.float32)), "bias": Array(np.zeros(10, np.float32))}
    strategy.start(grid, ArrayRecord(start), int(config["rounds"]), timeout=600, evaluate_fn=accuracy)
