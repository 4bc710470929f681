"""LEAF's JSON (Caldas et al., 2018): `users`, `num_samples`, and `user_data` with each user's `x` and `y`."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from sparsefed.core.errors import DataError
from sparsefed.core.text import amount
from sparsefed.data.dataset import Split
from sparsefed.data.formats.files import find_folder, missing, read_bytes

__all__ = ["HELD_OUT", "LeafUser", "halved", "hold_out", "leaf_files", "leaf_users", "owners"]

HELD_OUT = 0.1
"""The share of each user's data that becomes the test set where the files bring none."""


class LeafUser(NamedTuple):
    """One user's examples as one file has them."""

    path: Path
    name: str
    x: list[Any]
    y: list[Any]


def leaf_files(name: str, folder: Path | None) -> tuple[list[Path], list[Path]]:
    """The training and the test files: those of `train/` and `test/`, or all of the folder and none."""
    needed = ["train/*.json and test/*.json, or *.json (LEAF's preprocessing writes them)"]
    found = find_folder(name, folder, needed)
    train, test, flat = (sorted(found.glob(f"{part}*.json")) for part in ("train/", "test/", ""))
    if not (train or flat) or bool(train) != bool(test):
        raise missing(name, needed, [found])
    return (train, test) if train else (flat, [])


def leaf_users(paths: list[Path]) -> Iterator[LeafUser]:
    """Every user with examples, in the files' order, one file in memory at a time."""
    for path in paths:
        content = _parsed(path)
        for name in content["users"]:
            record = content["user_data"].get(name)
            if not isinstance(record, dict) or not all(isinstance(record.get(key), list) for key in "xy"):
                raise DataError(
                    f"{path}: expected lists `x` and `y` in `user_data` of user {name!r}, found none"
                )
            if len(record["x"]) != len(record["y"]):
                found = f"{amount(len(record['x']), 'example')} and {amount(len(record['y']), 'label')}"
                raise DataError(f"{path}: user {name!r}: expected equal numbers, found {found}")
            if record["y"]:
                yield LeafUser(path, name, record["x"], record["y"])


def hold_out(users: np.ndarray, order: np.ndarray | None = None, gap: int = 0) -> np.ndarray:
    """Which examples to test with: of each user the last tenth, rounded down, in `order` or as they stand.

    Without the first `gap` of each user's tenth, where those overlap with the examples before.
    """
    ranked = np.arange(len(users)) if order is None else order
    ranked = ranked[np.argsort(users[ranked], kind="stable")]
    totals = np.bincount(users)
    left = np.repeat(np.cumsum(totals), totals) - np.arange(len(users))  # counts down to 1 for each user
    mask = np.empty(len(users), bool)
    mask[ranked] = left <= np.repeat((totals * HELD_OUT).astype(np.int64) - gap, totals)
    return mask


def halved(split: Split, held: np.ndarray, test: np.ndarray | None = None) -> tuple[Split, Split]:
    """The examples outside the mask `held` to train with, and those inside it, or inside `test`, to test."""
    users, masks = owners(split), (~held, held if test is None else test)
    train, test_split = (
        Split(split.x[torch.from_numpy(mask)], split.y[torch.from_numpy(mask)], users[mask]) for mask in masks
    )
    return train, test_split


def owners(split: Split) -> np.ndarray:
    """The users of a split that has them."""
    if split.users is None:
        raise ValueError("expected LEAF data with users, found some without")
    return split.users


def _parsed(path: Path) -> dict[str, Any]:
    raw = read_bytes(path)
    try:
        content = json.loads(raw)
    except ValueError as problem:
        raise DataError(f"{path}: expected JSON, found none ({problem}); it may be cut off") from None
    shape = {"users": list, "num_samples": list, "user_data": dict}
    wrong = [
        key for key in shape if not isinstance(content, dict) or not isinstance(content.get(key), shape[key])
    ]
    if wrong:
        raise DataError(
            f"{path}: expected LEAF's `users`, `num_samples` and `user_data`, found no `{wrong[0]}`"
        )
    if not all(isinstance(name, str) for name in content["users"]):
        raise DataError(f"{path}: `users`: expected strings, found others")
    found, needed = len(content["num_samples"]), len(content["users"])
    if found != needed:
        raise DataError(
            f"{path}: expected {amount(needed, 'number')} in `num_samples`, one for each user, found {found}"
        )
    return content
