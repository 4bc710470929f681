"""What a data set checks, how examples become inputs, and the embedded digits."""

import ast
from pathlib import Path

import numpy as np
import pytest
import torch

import sparsefed.data
from sparsefed.core.errors import DataError
from sparsefed.data import Dataset, Digits, Split
from sparsefed.data.augment import Flip

IMAGES = torch.arange(2 * 3 * 4 * 4, dtype=torch.uint8).view(2, 3, 4, 4)
LABELS = torch.tensor([0, 1])


def dataset(train: Split, **options) -> Dataset:
    return Dataset(train, Split(IMAGES, LABELS), classes=2, source="file", **options)


def test_bytes_become_normalised_floats():
    data = dataset(Split(IMAGES, LABELS), mean=(0.1, 0.2, 0.3), std=(0.5, 1.0, 2.0))
    expected = IMAGES.numpy() / 255 - np.array([0.1, 0.2, 0.3]).reshape(1, 3, 1, 1)
    expected = expected / np.array([0.5, 1.0, 2.0]).reshape(1, 3, 1, 1)
    assert data.inputs(IMAGES).dtype == torch.float32
    np.testing.assert_allclose(data.inputs(IMAGES).numpy(), expected, rtol=1e-5)
    assert data.input_shape == (3, 4, 4)


def test_augmentation_comes_before_normalisation_and_only_in_training():
    data = dataset(Split(IMAGES, LABELS), mean=(0.1,) * 3, std=(0.5,) * 3, augment=Flip())
    seeds = range(8)
    seen = {
        bool(torch.equal(data.training_inputs(IMAGES, torch.Generator().manual_seed(s)), data.inputs(IMAGES)))
        for s in seeds
    }
    assert seen == {True, False}
    flipped = data.inputs(IMAGES.flip(-1))
    for s in seeds:
        change = data.training_inputs(IMAGES, torch.Generator().manual_seed(s))
        for i in range(2):
            assert any(torch.equal(change[i], side[i]) for side in (data.inputs(IMAGES), flipped))


def test_tokens_stay_themselves():
    text = torch.tensor([[1, 0], [0, 1]], dtype=torch.int32)
    data = Dataset(Split(text, text.long()), Split(text, text.long()), classes=2)
    assert data.inputs(text).dtype == torch.int64
    assert torch.equal(data.training_inputs(text, torch.Generator()), text.long())


@pytest.mark.parametrize(
    ("train", "complaint"),
    [
        (Split(IMAGES, torch.tensor([0, 2])), "file: train: expected 0 to 1, found labels from 0 to 2"),
        (Split(IMAGES, torch.tensor([-1, 0])), "labels from -1 to 0"),
        (Split(IMAGES, torch.tensor([-100, 0])), "labels from -100 to 0"),
        (Split(IMAGES, torch.tensor([0])), "expected equal numbers, found 2 examples, 1 label"),
        (Split(IMAGES, LABELS, np.zeros(3, np.int32)), "2 examples, 2 labels, 3 users"),
        (Split(IMAGES[:0], LABELS[:0]), "expected at least 1 example, found none"),
        (Split(torch.tensor([[1.0], [torch.nan]]), LABELS), "found 1 that are NaN or infinite"),
        (Split(IMAGES.float(), LABELS), "expected examples of one kind, found train floats and test bytes"),
        (Split(torch.zeros(2, 0), LABELS), r"found empty examples of shape \[0\]"),
        (
            Split(torch.zeros(2, 3, 4, 5, dtype=torch.uint8), LABELS),
            r"train \[3, 4, 5\] and test \[3, 4, 4\]",
        ),
    ],
)
def test_impossible_data_are_refused(train: Split, complaint: str):
    with pytest.raises(DataError, match=complaint):
        dataset(train)


def test_positions_that_are_not_scored_need_no_label():
    tokens = torch.zeros(1, 3, dtype=torch.int64)
    labels = torch.tensor([[-100, 1, -100]])
    assert Dataset(Split(tokens, labels), Split(tokens, labels), classes=2).classes == 2
    with pytest.raises(DataError, match="labels from -1 to 1"):
        Dataset(Split(tokens, torch.tensor([[-1, 1, -100]])), Split(tokens, labels), classes=2)


def test_the_digits_are_all_there_and_always_cut_alike():
    data, again = Digits().load(), Digits().load()
    assert torch.equal(data.train.x, again.train.x)
    assert torch.equal(data.test.y, again.test.y)
    assert (len(data.train.y), len(data.test.y)) == (1297, 500)
    assert data.input_shape == (1, 8, 8)
    assert (data.train.x.min(), data.train.x.max()) == (0, 1)
    images = torch.cat([data.train.x, data.test.x]).flatten(1)
    assert len(images.unique(dim=0)) == 1797
    assert torch.bincount(data.test.y).min() > 30


def test_importing_the_package_s_data_loads_no_reader_s_library():
    for path in Path(sparsefed.data.__file__).parent.glob("*.py"):
        for line in ast.parse(path.read_text()).body:
            names = (
                [n.name for n in line.names]
                if isinstance(line, ast.Import)
                else [getattr(line, "module", "")]
            )
            assert not {str(name).split(".")[0] for name in names} & {"sklearn", "pyarrow", "pooch", "PIL"}, (
                path
            )
