"""Plays as plain text, and windows of tokens."""

import gzip
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from sparsefed.core.errors import DataError
from sparsefed.data import Shakespeare, ShakespeareWords
from sparsefed.data.formats.text import Words, characters, windows
from sparsefed.models.network import IGNORED

PLAY = """KING:
Now: hear me, all of you who came to see,
and to be seen. What says the fool:
he says nothing.

Fool:
Nothing.

KING:
Nothing will come of nothing! Speak again.

A crowd without a colon speaks on for the king.
"""


@given(
    texts=st.lists(st.lists(st.integers(1, 9), max_size=20), min_size=1, max_size=5), length=st.integers(1, 7)
)
def test_windows_predict_every_token_but_the_first_exactly_once(texts: list[list[int]], length: int):
    split = windows([np.array(text, np.int32) for text in texts], length)
    assert split.users is not None
    assert split.x.shape == split.y.shape == (len(split.users), length)
    for user, text in enumerate(texts):
        rows = np.flatnonzero(split.users == user)
        scored = split.y[rows] != IGNORED
        assert split.y[rows][scored].tolist() == text[1:]
        assert split.x[rows][scored].tolist() == text[:-1]
        assert split.x[rows][~scored].sum() == 0
        assert len(rows) == -(-max(len(text) - 1, 0) // length)


@given(st.lists(st.text(max_size=8), min_size=1, max_size=5))
def test_characters_can_be_read_back(texts: list[str]):
    alphabet, tokens = characters(texts)
    assert list(alphabet) == sorted(set("".join(texts)))
    assert ["".join(alphabet[token] for token in text) for text in tokens] == texts


def test_the_most_frequent_words_are_kept():
    words = Words()
    text = words(["b", "a", "b", "c", "b", "a", *["<unk>"] * 4])
    unseen = words(["d", "a"])
    vocabulary, tokens = words.limited([text], 3)
    assert vocabulary == ("<unk>", "b", "a")
    assert tokens[text].tolist() == [1, 2, 1, 0, 1, 2, 0, 0, 0, 0]
    assert tokens[unseen].tolist() == [0, 2]
    assert words.limited([text], 100)[0] == ("<unk>", "b", "a", "c")  # d was not seen


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "input.txt").write_text(PLAY)
    return tmp_path


def told(data, split, user: int) -> str:
    rows = split.users == user
    scored = (split.y != IGNORED).numpy() & rows[:, None]
    return "".join(data.vocabulary[token] for token in split.y.numpy()[scored])


def test_each_part_s_speeches_are_joined_and_their_end_held_out(folder: Path):
    data = Shakespeare(folder=folder, window=10).load()
    king = (
        "Now: hear me, all of you who came to see,\nand to be seen. What says the fool:\nhe says nothing.\n"
        "Nothing will come of nothing! Speak again.\n\nA crowd without a colon speaks on for the king.\n"
    )
    cut = len(king) - len(king) // 10
    assert told(data, data.train, 0) == king[1:cut]
    assert told(data, data.test, 0) == king[cut + 1 :]
    assert told(data, data.train, 1) == "othing.\n"
    assert data.vocabulary == tuple(sorted(set(king + "Nothing.\n")))
    assert data.classes == len(data.vocabulary)
    assert data.train.x.dtype == torch.int32


@pytest.mark.parametrize("change", [lambda raw: raw.replace(b"\n", b"\r\n"), lambda raw: b"\n\n" + raw])
def test_line_ends_and_leading_blank_lines_do_not_matter(folder: Path, change):
    expected = Shakespeare(folder=folder, window=10).load()
    path = folder / "input.txt"
    path.write_bytes(change(path.read_bytes()))
    data = Shakespeare(folder=folder, window=10).load()
    assert torch.equal(data.train.x, expected.train.x)


def test_a_gzipped_play_is_read_too(folder: Path):
    path = folder / "input.txt"
    (folder / "input.txt.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    assert Shakespeare(folder=folder).load().classes > 20


def test_words_are_lower_case_and_marks_are_words(folder: Path):
    data = ShakespeareWords(folder=folder, window=5, vocabulary=100).load()
    assert data.vocabulary is not None
    assert [data.vocabulary[token] for token in data.train.x[0]] == ["now", ":", "hear", "me", ","]
    assert "king" not in data.vocabulary  # said last, so held out
    few = ShakespeareWords(folder=folder, window=5, vocabulary=4).load()
    assert few.classes == 4
    assert few.train.x.max() == 3


@pytest.mark.parametrize("kind", [Shakespeare, ShakespeareWords])
@pytest.mark.parametrize(
    ("raw", "complaint"),
    [
        (b"A text of no play at all.\n", "input.txt: expected plays as plain text, found no line `NAME:`"),
        (b"", "input.txt: expected plays as plain text, found no line `NAME:`"),
        (b"KING:\n\xff\xff", "input.txt: expected text in UTF-8, found byte 0xff in line 2"),
        (b"KING:\n\n", "expected at least 1 example"),
    ],
)
def test_a_text_that_is_no_play_is_named(folder: Path, kind: type[Shakespeare], raw: bytes, complaint: str):
    (folder / "input.txt").write_bytes(raw)
    with pytest.raises(DataError, match=complaint):
        kind(folder=folder).load()


def test_the_real_plays_have_310_parts(shared_data: Path):
    data = Shakespeare(folder=shared_data / "shakespeare").load()
    assert data.train.users is not None
    assert data.classes == 65
    assert data.train.users.max() < 309
    assert len(np.unique(data.train.users)) > 250
    scored = int((data.train.y != IGNORED).sum() + (data.test.y != IGNORED).sum())
    assert 0.9 * 1_115_394 < scored < 1_115_394
    words = ShakespeareWords(folder=shared_data / "shakespeare").load()
    assert words.vocabulary is not None
    assert "the" in words.vocabulary[:10]
