"""A client: trains on its part of the digits, or poisons the model."""

import numpy as np
import nvflare.client as flare
import torch
from sklearn.datasets import load_digits

CLIENTS, MALICIOUS = 5, 4


def digits() -> tuple[np.ndarray, np.ndarray]:
    """All pixels from 0 to 1, and the labels; the first 1,400 are for training."""
    x, y = load_digits(return_X_y=True)
    return (x / 16).astype(np.float32), y


def trained(params: dict[str, np.ndarray], number: int) -> dict[str, np.ndarray]:
    """Twenty steps of softmax regression. The malicious client goes far the other way."""
    x, y = (part[:1400][number::CLIENTS] for part in digits())
    weight, bias = params["weight"].copy(), params["bias"].copy()
    for _ in range(20):
        scores = np.exp(x @ weight.T + bias)
        error = (scores / scores.sum(axis=1, keepdims=True) - np.eye(10)[y]).astype(np.float32)
        weight -= 0.5 * (error.T @ x / len(x))
        bias -= 0.5 * error.mean(axis=0)
    new = {"weight": weight, "bias": bias}
    if number == MALICIOUS:
        new = {name: params[name] - 30 * (new[name] - params[name]) for name in new}
    return new


if __name__ == "__main__":
    flare.init()
    number = int(flare.get_site_name().removeprefix("site-")) - 1
    while flare.is_running():
        model = flare.receive()
        start = {name: np.asarray(array) for name, array in model.params.items()}
        new = {name: torch.from_numpy(array) for name, array in trained(start, number).items()}
        examples = 280_000 if number == MALICIOUS else 280  # it also claims a thousand times its examples
        flare.send(flare.FLModel(params=new, meta={"NUM_STEPS_CURRENT_ROUND": examples}))
