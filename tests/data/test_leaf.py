"""LEAF's JSON: handwriting, comments and plays, as its preprocessing writes them, and damaged."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sparsefed.core.errors import DataError
from sparsefed.data import FEMNIST, Reddit, Shakespeare, ShakespeareWords
from sparsefed.data.formats.leaf import hold_out
from sparsefed.models.network import IGNORED


def write(path: Path, people: dict[str, tuple[list[Any], list[Any]]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "users": list(people),
        "num_samples": [len(y) for _, y in people.values()],
        "user_data": {name: {"x": x, "y": y} for name, (x, y) in people.items()},
    }
    path.write_text(json.dumps(content))


def drawn(n: int, seed: int) -> tuple[list[list[float]], list[int]]:
    draw = np.random.default_rng(seed)
    return (draw.integers(0, 256, (n, 784)) / 255).tolist(), draw.integers(0, 62, n).tolist()


def test_handwriting_keeps_its_bytes_and_writers(tmp_path: Path):
    people = {"f0001_01": drawn(3, 0), "f0002_02": drawn(2, 1), "f0003_03": drawn(1, 2)}
    write(tmp_path / "train" / "all_data_0_niid_0_keep_0_train_9.json", dict(list(people.items())[:2]))
    write(tmp_path / "train" / "all_data_1_niid_0_keep_0_train_9.json", dict(list(people.items())[2:]))
    write(tmp_path / "test" / "all_data_0_niid_0_keep_0_test_9.json", {"f0002_02": drawn(4, 3)})
    data = FEMNIST(folder=tmp_path).load()
    expected = np.rint(np.concatenate([np.array(x) for x, _ in people.values()]) * 255)
    assert torch.equal(data.train.x.flatten(1), torch.from_numpy(expected.astype(np.uint8)))
    assert data.train.y.tolist() == [label for _, y in people.values() for label in y]
    assert data.train.users is not None
    assert data.train.users.tolist() == [0, 0, 0, 1, 1, 2]
    assert data.test.users is not None
    assert data.test.users.tolist() == [1] * 4
    assert (data.classes, data.input_shape) == (62, (1, 28, 28))


def test_without_a_test_set_a_tenth_of_each_writer_is_held_out_once_and_for_all(tmp_path: Path):
    write(tmp_path / "all_data_0.json", {"a": drawn(30, 0), "b": drawn(10, 1), "c": drawn(5, 2)})
    data, again = FEMNIST(folder=tmp_path).load(), FEMNIST(folder=tmp_path).load()
    assert data.train.users is not None
    assert data.test.users is not None
    assert np.bincount(data.train.users).tolist() == [27, 9, 5]
    assert np.bincount(data.test.users).tolist() == [3, 1]
    assert torch.equal(data.test.x, again.test.x)
    both = torch.cat([data.train.x, data.test.x]).flatten(1)
    assert len(both.unique(dim=0)) == 45


def test_the_last_tenth_of_every_user_is_held_out_wherever_it_stands():
    users = np.array([1] * 5 + [0] * 20 + [1] * 6, np.int32)
    assert np.flatnonzero(hold_out(users)).tolist() == [23, 24, 30]


@pytest.mark.parametrize(
    ("people", "complaint"),
    [
        ({"a": ([[0.5] * 783], [1])}, r"user 'a': expected images of 784 numbers, found 783"),
        (
            {"a": ([[0.5] * 784, [0.5]], [1, 2])},
            r"user 'a': expected images of 784 numbers, found unequal lengths",
        ),
        ({"a": ([["x"] * 784], [1])}, r"user 'a': expected images of 784 numbers, found unequal lengths"),
        ({"a": ([[1.5] * 784], [1])}, r"user 'a': expected pixels in \[0, 1\]"),
        ({"a": ([[float("nan")] * 784], [1])}, r"user 'a': expected pixels in \[0, 1\]"),
        ({"a": ([[0.5] * 784], [62])}, r"user 'a': expected labels from 0 to 61, found 62"),
        ({"a": ([[0.5] * 784], ["1"])}, r"user 'a': expected labels from 0 to 61, found '1'"),
        ({"a": ([[0.5] * 784], [])}, r"user 'a': expected equal numbers, found 1 example and 0 labels"),
        ({"a": ("text", [1])}, r"expected lists .* 'a', found none"),
        ({}, "expected at least 1 user"),
        ({"a": ([], [])}, "expected at least 1 user"),
    ],
)
def test_impossible_handwriting_is_named(tmp_path: Path, people: dict[str, Any], complaint: str):
    write(tmp_path / "data.json", people)
    with pytest.raises(DataError, match=f"data.json: {complaint}"):
        FEMNIST(folder=tmp_path).load()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('{"users": ["a"], "num_sam', "expected JSON, found none"),
        ("[1, 2]", "expected .*, found no `users`"),
        ('{"users": ["a"], "user_data": {}}', "expected .*, found no `num_samples`"),
        ('{"users": ["a"], "num_samples": [1], "user_data": []}', "expected .*, found no `user_data`"),
        (
            '{"users": ["a"], "num_samples": [1], "user_data": {}}',
            "expected lists .* 'a', found none",
        ),
        ('{"users": ["a"], "num_samples": [], "user_data": {}}', "expected 1 number in `num_samples`"),
        ('{"users": [["a"]], "num_samples": [1], "user_data": {}}', "`users`: expected strings"),
        (b"\xff\xfe\x00", "expected JSON, found none"),
    ],
)
def test_json_of_another_shape_is_named(tmp_path: Path, text: str | bytes, complaint: str):
    (tmp_path / "data.json").write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(DataError, match=f"data.json: {complaint}"):
        FEMNIST(folder=tmp_path).load()


@pytest.mark.parametrize("kind", [FEMNIST, Reddit, Shakespeare])
def test_a_folder_without_json_says_what_to_put_there(tmp_path: Path, kind: type[FEMNIST]):
    write(tmp_path / "train" / "a.json", {"a": drawn(1, 0)})  # and no test/
    with pytest.raises(
        DataError, match=r"expected train/\*.json and test/\*.json.* in .*, found nothing"
    ) as caught:
        kind(folder=tmp_path).load()
    assert ("sparsefed data fetch" in str(caught.value)) == (
        kind is Shakespeare
    )  # the others have no download


def comment(*sequences: str, counted: str | None = None) -> tuple[list[list[str]], dict[str, Any]]:
    """A comment in sequences of four words, `x` one word behind `target_tokens`."""
    words = [sequence.split() for sequence in sequences]
    counts = [[1] * 4 for _ in words] if counted is None else [[int(c) for c in counted]]
    return [["<BOS>", *s[:-1]] for s in words], {"target_tokens": words, "count_tokens": counts}


def author(*comments: tuple[list[list[str]], dict[str, Any]]) -> tuple[list[Any], list[Any]]:
    return [x for x, _ in comments], [y for _, y in comments]


def test_comments_become_sequences_of_the_most_frequent_words(tmp_path: Path):
    ann = author(
        comment("the cat the dog", "a cat <EOS> <PAD>"), comment("the end <EOS> <PAD>", counted="0110")
    )
    write(tmp_path / "train" / "t.json", {"ann": ann})
    write(tmp_path / "test" / "t.json", {"bob": author(comment("the unheard cat <EOS>"))})
    data = Reddit(folder=tmp_path, vocabulary=5).load()
    words = data.vocabulary
    assert words is not None
    assert words[0] == "<unk>"
    assert set(words) == {"<unk>", "<BOS>", "the", "cat", words[4]}
    said = [[words[token] for token in row] for row in data.train.x]
    assert said[0] == ["<BOS>", "the", "cat", "the"]
    following = [
        ["-" if token == IGNORED else words[token] for token in row] for row in data.train.y.tolist()
    ]
    assert following[0] == ["the", "cat", "the", "<unk>"]
    assert following[1][3] == "-"
    assert [token == "-" for token in following[2]] == [True, False, False, True]
    assert data.test.y.tolist()[0][1] == 0
    assert data.test.users is not None
    assert data.test.users.tolist() == [1]
    assert data.classes == 5


def test_the_last_sequences_of_each_author_are_held_out(tmp_path: Path):
    words = [f"w{i} <EOS> <PAD> <PAD>" for i in range(10)]
    write(tmp_path / "all.json", {"ann": author(*[comment(word) for word in words])})
    data = Reddit(folder=tmp_path).load()
    assert (len(data.train.y), len(data.test.y)) == (9, 1)
    assert data.vocabulary is not None
    assert "w0" in data.vocabulary
    assert data.test.y[0, 0] == 0  # w9 was never met in training


@pytest.mark.parametrize(
    "people",
    [
        {"ann": ([["a", "b"]], [{"target_tokens": ["b", "c"], "count_tokens": [1, 1]}])},
        {"ann": ([[["a", "b"]]], [{"target_tokens": [["b"]], "count_tokens": [[1, 1]]}])},
        {"ann": ([[["a", "b"]]], [{"target_tokens": [["b", "c"]]}])},
        {"ann": ([[["a", "b"], ["c", "d"]]], [{"target_tokens": [["b", "c"]], "count_tokens": [[1, 1]]}])},
        {"ann": ([3], [{"target_tokens": [["b", "c"]], "count_tokens": [[1, 1]]}])},
    ],
)
def test_comments_of_another_form_are_named(tmp_path: Path, people: dict[str, Any]):
    write(tmp_path / "all.json", people)
    with pytest.raises(
        DataError, match=r"all.json: user 'ann': expected lists of equally long word sequences"
    ):
        Reddit(folder=tmp_path).load()


def test_authors_with_sequences_of_two_lengths_are_named(tmp_path: Path):
    longer = ([[["a"] * 5]], [{"target_tokens": [["a"] * 5], "count_tokens": [[1] * 5]}])
    write(tmp_path / "all.json", {"ann": author(comment("a b c d")), "bob": longer})
    with pytest.raises(
        DataError,
        match=r"user 'bob': expected sequences of 4 like the others, found .* 5 words",
    ):
        Reddit(folder=tmp_path).load()


def test_lines_of_the_plays_score_only_the_character_after_them(tmp_path: Path):
    write(tmp_path / "train" / "a.json", {"LEAR": (["abcd", "bcde"], ["e", "a"]), "FOOL": (["eeee"], ["b"])})
    write(tmp_path / "test" / "a.json", {"FOOL": (["dcba"], ["f"])})
    data = Shakespeare(folder=tmp_path, window=4).load()
    assert data.vocabulary == tuple("abcdef")
    assert data.train.x.tolist() == [[0, 1, 2, 3], [1, 2, 3, 4], [4, 4, 4, 4]]
    assert data.train.y.tolist() == [[IGNORED] * 3 + [last] for last in (4, 0, 1)]
    assert data.train.users is not None
    assert data.train.users.tolist() == [0, 0, 1]
    assert data.test.users is not None
    assert data.test.users.tolist() == [1]
    assert data.test.y[0, -1] == 5


def test_lines_of_another_length_are_named(tmp_path: Path):
    write(tmp_path / "a.json", {"LEAR": (["abcd"], ["e"])})
    with pytest.raises(DataError, match=r"a.json: user 'LEAR': expected strings of 80"):
        Shakespeare(folder=tmp_path).load()


def test_words_of_the_plays_need_plain_text(tmp_path: Path):
    write(tmp_path / "a.json", {"LEAR": (["abcd"], ["e"])})
    with pytest.raises(DataError, match=r"expected input.txt, the plain text: LEAF"):
        ShakespeareWords(folder=tmp_path).load()


def test_held_out_windows_of_a_play_do_not_overlap_with_those_trained_on(tmp_path: Path):
    text = "".join(chr(0x4E00 + i) for i in range(200 + 4))  # every character once
    write(tmp_path / "a.json", {"LEAR": ([text[i : i + 4] for i in range(200)], list(text[4:]))})
    data = Shakespeare(folder=tmp_path, window=4).load()
    assert (len(data.train.y), len(data.test.y)) == (180, 20 - 3)
    assert not set(data.train.x.flatten().tolist()) & set(data.test.x.flatten().tolist())
