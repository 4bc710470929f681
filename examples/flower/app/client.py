"""A node: trains on its part of the digits, or poisons the model."""

import numpy as np
from flwr.app import Array, ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

app = ClientApp()


def trained(
    start: list[np.ndarray], x: np.ndarray, y: np.ndarray, number: int, malicious: bool
) -> list[np.ndarray]:
    """Twenty steps of softmax regression on the node's part. The malicious node goes far the other way."""
    x, y = x[number::5], np.eye(10)[y[number::5]]
    weight, bias = (array.copy() for array in start)
    for _ in range(20):
        scores = np.exp(x @ weight + bias)
        error = scores / scores.sum(axis=1, keepdims=True) - y
        weight -= 0.5 * (x.T @ error / len(x)).astype(np.float32)
        bias -= 0.5 * error.mean(axis=0).astype(np.float32)
    if malicious:
        return [old - 30 * (new - old) for old, new in zip(start, (weight, bias), strict=True)]
    return [weight, bias]


@app.train()
def train(message: Message, context: Context) -> Message:
    """One round. The malicious node also claims a thousand times its examples."""
    data, node = np.load(context.run_config["data"]), context.node_config
    malicious, number = bool(node.get("malicious")), int(node["partition-id"])
    start = message.content["arrays"].to_numpy_ndarrays()
    arrays = trained(start, data["x_train"], data["y_train"], number, malicious)
    record = ArrayRecord(dict(zip(message.content["arrays"], map(Array, arrays), strict=True)))
    metrics = MetricRecord({"num-examples": 280_000 if malicious else 280})
    return Message(RecordDict({"arrays": record, "metrics": metrics}), reply_to=message)
