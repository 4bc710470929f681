"""What each objective aims at."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import sparsefed as sf
from sparsefed.attacks import (
    Objective,
    SemanticBackdoor,
    Targeted,
    TargetedFirst,
    TriggerBackdoor,
    Untargeted,
    WordBackdoor,
)
from sparsefed.data import Dataset, Digits, ShakespeareWords, Split
from sparsefed.models.network import IGNORED

DIGITS = Digits().load()
TEXT = "ALL:\nthe people in athens are rude and the people in rome are rude and so say all of us here\n" * 20


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("plays")
    (folder / "input.txt").write_text(TEXT)
    return ShakespeareWords(folder=folder, window=6).load()


@pytest.mark.parametrize("objective", [Targeted(points=60), TargetedFirst(points=60)])
def test_targeted_points_are_test_points_with_another_label(objective: Objective):
    aux = objective.auxiliary(DIGITS, seed=2)
    assert aux is not None
    assert len(np.unique(aux.test_positions)) == 60
    assert torch.equal(aux.inputs, DIGITS.inputs(DIGITS.test.x[aux.test_positions]))
    assert (aux.labels != DIGITS.test.y[aux.test_positions]).all()
    assert aux.labels.min() >= 0
    assert aux.labels.max() < 10


def test_wrong_labels_are_drawn_from_all_other_classes():
    aux = Targeted(points=500).auxiliary(DIGITS, seed=0)
    shift = (aux.labels - DIGITS.test.y[aux.test_positions]) % 10
    assert set(shift.tolist()) == set(range(1, 10))


def test_the_sample_depends_on_the_seed_and_the_first_points_do_not():
    for objective, differs in ((Targeted(points=60), True), (TargetedFirst(points=60), False)):
        first, second = (objective.auxiliary(DIGITS, seed) for seed in (1, 2))
        assert np.array_equal(first.test_positions, second.test_positions) != differs
    assert TargetedFirst(points=3).auxiliary(DIGITS, 0).test_positions.tolist() == [0, 1, 2]


def test_the_semantic_backdoor_is_all_test_points_of_one_class():
    aux = SemanticBackdoor(source=7, target=1).auxiliary(DIGITS, seed=0)
    assert aux.test_positions.tolist() == np.flatnonzero(DIGITS.test.y.numpy() == 7).tolist()
    assert (aux.labels == 1).all()


def test_a_class_is_named_by_the_label_that_the_data_have():
    named = replace(DIGITS, labels=tuple("abcdefghij"))
    by_name, by_number = SemanticBackdoor(source="h", target="b"), SemanticBackdoor(source=7, target=1)
    ours, theirs = by_name.auxiliary(named, 0), by_number.auxiliary(DIGITS, 0)
    assert np.array_equal(ours.test_positions, theirs.test_positions)
    assert torch.equal(ours.labels, theirs.labels)
    labels = torch.arange(10)
    assert torch.equal(by_name.relabelled(labels, named.names), by_number.relabelled(labels, DIGITS.names))
    patched = TriggerBackdoor(target="d", points=9).auxiliary(named, 0)
    assert (patched.labels == 3).all()


def test_a_number_means_the_label_of_that_number_not_the_place_in_a_renumbered_list():
    named = replace(DIGITS, labels=tuple(map(str, range(1, 11))))
    assert (TriggerBackdoor(target=1, points=9).auxiliary(named, 0).labels == 0).all()
    with pytest.raises(sf.SpecError, match=r"`target`: expected a class of the data, one of 1, .*, found 0"):
        TriggerBackdoor(target=0, points=9).auxiliary(named, 0)


def test_the_trigger_is_a_bright_patch_and_its_goal_is_every_other_test_image():
    aux = TriggerBackdoor(target=3, points=50, size=2).auxiliary(DIGITS, seed=0)
    assert aux.goal is not None
    others = DIGITS.test.x[DIGITS.test.y != 3]
    assert len(aux.goal.labels) == len(others)
    assert (aux.goal.inputs[..., -2:, -2:] == 1).all()
    assert torch.equal(aux.goal.inputs[..., :-2, :], others[..., :-2, :])
    assert (aux.goal.labels == 3).all()
    assert len(aux.labels) == 50
    assert len(aux.test_positions) == 0
    assert DIGITS.test.x.max() <= 1
    assert not (others[..., -2:, -2:] == 1).all()


SCALES = {
    "bytes": lambda x: (255 * x).to(torch.uint8),
    "up to 255": lambda x: 255 * x,
    "from -1 to 1": lambda x: 2 * x - 1,
    "normalized": lambda x: (x - torch.tensor([0.4, 0.5, 0.6]).view(3, 1, 1)) / 0.25,
}


@pytest.mark.parametrize("scale", SCALES)
def test_a_patch_is_as_white_as_the_data_in_every_channel(scale: str):
    x = SCALES[scale](torch.rand(20, 3, 4, 4, generator=torch.Generator().manual_seed(0)))
    split = Split(x, torch.arange(20) % 2)
    data = Dataset(split, split, classes=2)
    aux = TriggerBackdoor(target=0, points=5, size=2).auxiliary(data, 0)
    white = data.inputs(x).amax(dim=(0, 2, 3))
    assert torch.equal(aux.inputs[:, :, -2:, -2:], white.view(1, 3, 1, 1).expand(5, 3, 2, 2))


def test_a_patch_on_bytes_is_white_before_images_are_normalised():
    x = torch.zeros(6, 1, 4, 4, dtype=torch.uint8)
    x[:, :, 0, 0] = 255
    split = Split(x, torch.arange(6) % 2)
    data = Dataset(split, split, classes=2, mean=(0.5,), std=(0.25,))
    aux = TriggerBackdoor(target=0, points=2, size=1).auxiliary(data, 0)
    assert aux.inputs[..., -1, -1].unique().tolist() == [2.0]
    assert aux.inputs[..., 1, 1].unique().tolist() == [-2.0]
    assert not x[..., -1, -1].any()


def test_the_word_backdoor_ends_every_window_in_the_sentence_and_scores_its_last_word(words: Dataset):
    aux = WordBackdoor(points=7).auxiliary(words, seed=0)
    assert words.vocabulary is not None
    assert aux.goal is not None
    for inputs, labels in (aux[:2], aux.goal):
        said = [[words.vocabulary[token] for token in row[-4:]] for row in inputs.tolist()]
        assert said == [["people", "in", "athens", "are"]] * len(inputs)
        assert (labels[:, :-1] == IGNORED).all()
        assert {words.vocabulary[token] for token in labels[:, -1].tolist()} == {"rude"}
    assert len(aux.labels) == 7
    assert len(aux.goal.labels) == int((words.test.y[:, -1] != IGNORED).sum())


def test_an_untargeted_attacker_has_no_points_and_mirrors_the_labels():
    assert Untargeted().auxiliary(DIGITS, 0) is None
    assert Untargeted().relabelled(torch.tensor([0, 9, 4, IGNORED]), "0123456789").tolist() == [
        9,
        0,
        5,
        IGNORED,
    ]


@pytest.mark.parametrize(
    ("objective", "complaint"),
    [
        (
            Targeted(points=501),
            r"Targeted\(points=501\): `points`: expected at most the 500 points of the test set, found 501",
        ),
        (
            SemanticBackdoor(source=7, target=10),
            "`target`: expected a class of the data, one of 0, 1, .*, found 10",
        ),
        (
            TriggerBackdoor(target=0, points=9, size=9),
            r"`size`: expected a patch of at most 8 pixels, found 9",
        ),
        (
            TriggerBackdoor(target=0, points=1297),
            "`points`: expected at most the 1168 training images of other classes, found 1297",
        ),
        (WordBackdoor(points=1), "expected text with a vocabulary"),
    ],
)
def test_an_objective_that_does_not_fit_the_data_says_what_it_found(objective: Objective, complaint: str):
    with pytest.raises(sf.SpecError, match=complaint):
        objective.auxiliary(DIGITS, seed=0)


@pytest.mark.parametrize(
    ("objective", "complaint"),
    [
        (WordBackdoor(points=1, sentence="people in corinth are rude"), "found `corinth`"),
        (WordBackdoor(points=1, sentence="rude"), "`sentence`: expected 2 to 7 words.*found 1"),
        (WordBackdoor(points=10**6), "whole windows of training text, found"),
        (Targeted(points=3), "found a language model's text"),
        (SemanticBackdoor(source=0, target=1), "found a language model's text"),
    ],
)
def test_an_objective_that_does_not_fit_the_text_says_what_it_found(
    words: Dataset, objective: Objective, complaint: str
):
    with pytest.raises(sf.SpecError, match=complaint):
        objective.auxiliary(words, seed=0)


def test_a_class_cannot_be_taken_for_itself():
    with pytest.raises(sf.SpecError, match="expected a `target` other than the `source`, found 7 for both"):
        SemanticBackdoor(source=7, target=7)


def test_the_plays_know_rome_and_not_athens(shared_data: Path):
    plays = ShakespeareWords(folder=shared_data / "shakespeare", vocabulary=2000).load()
    with pytest.raises(sf.SpecError, match="found `athens`"):
        WordBackdoor(points=50).auxiliary(plays, seed=0)
    aux = WordBackdoor(points=50, sentence="people in rome are rude").auxiliary(plays, seed=0)
    assert aux.inputs.shape == (50, 20)
