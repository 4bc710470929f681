"""The experiment that an audit makes of a model and its data alone."""

from pathlib import Path

from sparsefed.core.errors import SpecError
from sparsefed.core.merge import Tree
from sparsefed.data import Csv, Data, Npz, Parquet

__all__ = ["usual"]

_TABLES = {".csv": Csv, ".parquet": Parquet}


def usual(model: str, data: Path, label: str | None = None) -> Tree:
    """The experiment, as a file would hold it, for a model and data of which nothing else is known.

    `label` names the column with each row's class, where the data are a table.
    """
    source = _source(data, label)
    train = source.load().train
    if train.users is not None:
        clients, partition = len(set(train.users.tolist())), {"type": "Natural"}
    else:
        clients = max(2, min(1000, len(train.y) // 5))
        partition = {"type": "IID", "clients": clients}
    return {
        "rounds": 150,
        "cohort": min(clients, max(10, min(100, clients // 10))),
        "data": source.to_dict(),
        "partition": partition,
        "model": {"type": model},
        "schedule": {"type": "Triangular", "peak": 0.2},
        "defense": {"type": "Mean", "momentum": 0.9},
    }


def _source(data: Path, label: str | None) -> Data:
    if data.suffix == ".npz" and label is None:
        return Npz(path=data)
    if data.suffix in _TABLES and label is not None:
        return _TABLES[data.suffix](path=data, label=label)
    known = (
        "an .npz archive, or a .csv or .parquet table with `--label COLUMN`, the column of each row's class"
    )
    beside = "" if label is None else f" with `--label {label}`"
    raise SpecError(
        f"{data}: expected {known}, found {data.suffix or 'no suffix'}{beside}; docs/own.md has more"
    )
