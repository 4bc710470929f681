"""Your own data from a table with a label column: a CSV or Parquet file."""

import io
from abc import abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field

from sparsefed.core.errors import DataError, did_you_mean
from sparsefed.core.places import found, searched
from sparsefed.core.seeds import Stream, rng
from sparsefed.core.text import amount, one_line
from sparsefed.data.dataset import Data, Dataset, Split
from sparsefed.data.formats.arrays import as_classes, as_inputs, as_users
from sparsefed.data.formats.files import read_text

__all__ = ["Csv", "Parquet"]

DELIMITERS = ",;\t|"


class _Table(Data):
    """Rows are examples; every column but `label` and `users` is a numeric feature."""

    path: Path
    """The file of the training examples, and of the test examples too if `test` is not given."""
    label: str
    """The column with each example's class: whole numbers or names."""
    users: str | None = None
    """The column with each example's owner, for the partition `Natural`."""
    test: Path | None = None
    """The file of the test examples, with the same columns."""
    held_out: float = Field(default=0.2, gt=0, lt=1)
    """Share of the rows to test with, drawn once and for all, where `test` is not given."""

    @abstractmethod
    def read(self, path: Path) -> Any:
        """The file as an Arrow table."""

    def source_files(self) -> list[Path]:
        return [found(path) for path in (self.path, self.test) if path is not None]

    def load(self) -> Dataset:
        table = self._table(self.path)
        if self.test is None:
            order = rng(0, Stream.DATA).permutation(len(table))
            cut = max(1, round(self.held_out * len(table)))
            sides = [table.take(np.sort(order[cut:])), table.take(np.sort(order[:cut]))]
        else:
            sides = [table, self._table(self.test)]
            if sides[0].column_names != sides[1].column_names:
                raise DataError(f"{self.test}: expected the columns of {self.path}, found others")
        train, test = (self._column(side, self.label) for side in sides)
        y_train, y_test, called = as_classes(train, test, self.path)
        x_train, x_test = (self._features(side) for side in sides)
        owners = None if self.users is None else as_users(self._column(sides[0], self.users), self.path)
        mean, std = x_train.mean(0), x_train.std(0, correction=0)
        return Dataset(
            Split(x_train, y_train, owners),
            Split(x_test, y_test),
            1 + int(y_train.max()),
            tuple(mean.tolist()),
            tuple(torch.where(std > 0, std, 1.0).tolist()),
            labels=called,
            source=str(self.path),
        )

    def _table(self, path: Path) -> Any:
        if not found(path).is_file():
            raise DataError(f"{searched(path)}: no such file, expected a table in CSV or Parquet")
        table = self.read(found(path))
        names = table.column_names
        if twice := {name for name in names if names.count(name) > 1}:
            raise DataError(f"{path}: expected different names of columns, found `{min(twice)}` twice")
        for name in filter(None, (self.label, self.users)):
            self._column(table, name, path)
        for name in names:
            if name not in {self.label, self.users}:
                values = self._column(table, name, path)
                _check_numbers(values, f"{path}: expected numbers in column `{name}`")
        return table

    def _features(self, table: Any) -> torch.Tensor:
        names = [name for name in table.column_names if name not in {self.label, self.users}]
        columns = [self._column(table, name) for name in names]
        if not columns:
            raise DataError(f"{self.path}: expected a column of features beside `{self.label}`, found none")
        return as_inputs(np.stack([column.astype(np.float64) for column in columns], 1), self.path)

    def _column(self, table: Any, name: str, path: Path | None = None) -> np.ndarray:
        import pyarrow as pa

        if name not in table.column_names:
            hint = did_you_mean(name, table.column_names)
            names = f"found {', '.join(table.column_names)}" if not hint else "found none"
            raise DataError(f"{path or self.path}: expected a column `{name}`, {names}{hint}")
        column = table.column(name)
        if column.null_count:
            found = f"found {amount(column.null_count, 'missing value')}"
            raise DataError(f"{path or self.path}: expected a value of column `{name}` in every row, {found}")
        if pa.types.is_nested(column.type) or pa.types.is_binary(column.type):
            expected = f"numbers or text in column `{name}`"
            raise DataError(f"{path or self.path}: expected {expected}, found {column.type}")
        values = column.to_numpy()
        return values.astype(str) if values.dtype == object else values


def _check_numbers(column: np.ndarray, expected: str) -> None:
    """Raises `DataError` with the first cell that is no number, and its row below the head."""
    if column.dtype.kind in "biuf":
        return
    cells = column.astype(str)
    bad = [row for row, cell in enumerate(cells) if not _is_number(cell)]
    if bad:
        remedy = "replace it" if len(bad) < len(cells) / 2 else "encode the column"
        found = one_line(cells[bad[0]], 40)
        raise DataError(f"{expected}, found {found} in row {bad[0] + 1}; {remedy}, or remove it")


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


class Csv(_Table):
    """A text table with a line of column names, separated by commas, semicolons, tabs or bars.

    Features are standardized by the mean and the deviation of the training examples.
    """

    def read(self, path: Path) -> Any:
        import pyarrow as pa
        from pyarrow import csv

        text = read_text(path)
        head = text.partition("\n")[0]
        delimiter = max(DELIMITERS, key=head.count)
        options = csv.ParseOptions(delimiter=delimiter)
        try:
            return csv.read_csv(io.BytesIO(text.encode()), parse_options=options)
        except pa.ArrowException as problem:
            raise DataError(f"{path}: expected a table, found something else ({problem})") from None


class Parquet(_Table):
    """A Parquet file of plain columns.

    Features are standardized by the mean and the deviation of the training examples.
    """

    def read(self, path: Path) -> Any:
        import pyarrow as pa
        from pyarrow import parquet

        try:
            return parquet.ParquetFile(path).read()
        except (pa.ArrowException, OSError) as problem:
            raise DataError(f"{path}: expected a Parquet file, found something else ({problem})") from None
