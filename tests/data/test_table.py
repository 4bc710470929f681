"""Tables with a label column: CSV as any program writes it, and Parquet."""

import codecs
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from sparsefed.core.errors import DataError
from sparsefed.data import Csv, Parquet

ROWS = [(i, i % 7 / 2, "no" if i % 3 else "yes", f"user {i % 4}") for i in range(40)]
TEXT = "age,height,ill,who\n" + "".join(f"{a},{h},{ill},{who}\n" for a, h, ill, who in ROWS)

WRITTEN = {
    "as on Unix": TEXT.encode(),
    "by Excel": codecs.BOM_UTF8 + TEXT.replace("\n", "\r\n").encode(),
    "with semicolons": TEXT.replace(",", ";").encode(),
    "with tabs, as Unicode": TEXT.replace(",", "\t").encode("utf-16"),
    "by an old Macintosh": TEXT.replace("\n", "\r").encode(),
}


@pytest.mark.parametrize("written", WRITTEN)
def test_a_csv_is_the_same_table_however_it_was_written(tmp_path: Path, written: str):
    path = tmp_path / "own.csv"
    path.write_bytes(WRITTEN[written])
    data = Csv(path=path, label="ill", users="who").load()
    assert data.labels == ("no", "yes")
    assert (len(data.train.y), len(data.test.y)) == (32, 8)
    assert data.train.users is not None
    ages, heights = data.train.x.numpy().T
    assert np.array_equal(heights, ages % 7 / 2)
    assert np.array_equal(data.train.y.numpy(), ages % 3 == 0)
    assert np.array_equal(data.train.users, ages % 4)
    inputs = data.inputs(data.train.x).numpy()
    np.testing.assert_allclose(inputs.mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(inputs.std(0), 1, rtol=1e-5)


def test_parquet_holds_the_same_table_and_may_bring_its_test_examples(tmp_path: Path):
    names = ("age", "height", "ill", "who")
    table = pa.table(dict(zip(names, map(list, zip(*ROWS, strict=True)), strict=True)))
    parquet.write_table(table, tmp_path / "own.parquet")
    data = Parquet(
        path=tmp_path / "own.parquet", test=tmp_path / "own.parquet", label="ill", users="who"
    ).load()
    assert data.train.x.tolist() == [[a, h] for a, h, _, _ in ROWS]
    assert data.test.y.tolist() == [int(ill == "yes") for _, _, ill, _ in ROWS]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a,b\n1,2\n3,4\n", "expected a column `ill`, found a, b"),
        ("a,ill\nx,0\ny,1\n", "expected numbers in column `a`, found x in row 1; encode the column"),
        ("a,ill\n1,0\n2,1\n?,1\n4,0\n", r"expected numbers in column `a`, found \? in row 3; replace it"),
        ("a,ill\n1,no\n2,\n3,yes\n", "expected a label for every example, found 1 empty"),
        ("a,ill\n1,no\n2,no\n3,no\n", "expected at least two different labels, found only no"),
        ("a,il\n1,no\n3,yes\n", "expected a column `ill`, found none; did you mean `il`"),
        ("a,a,ill\n1,2,no\n3,4,yes\n", "expected different names of columns, found `a` twice"),
        ("a,ill\n1,0\n,1\n3,0\n", "expected a value of column `a` in every row, found 1 missing value"),
        ("ill\n" + "0\n1\n" * 9, "expected a column of features beside `ill`, found none"),
        ("a,ill\n" + "1,0.5\n" * 9, "expected one whole number or name per example"),
    ],
)
def test_a_table_that_does_not_fit_is_named(tmp_path: Path, text: str, complaint: str):
    (tmp_path / "own.csv").write_text(text)
    with pytest.raises(DataError, match=rf"own.csv: .*{complaint}"):
        Csv(path=tmp_path / "own.csv", label="ill", test=tmp_path / "own.csv").load()


def test_text_of_another_encoding_is_one_line(tmp_path: Path):
    (tmp_path / "own.csv").write_bytes("größe,ill\n1,0\n".encode("latin-1"))
    with pytest.raises(
        DataError, match="expected text in UTF-8, found byte 0xf6 in line 1; save it as UTF-8"
    ):
        Csv(path=tmp_path / "own.csv", label="ill").load()
