"""What a client may try, and that each check is what stops one of the attempts."""

import numpy as np
import pytest
from chosen_checks import ChosenChecks
from rounds import KEY, NONCE, accepted, random, small

from sparsefed.secagg import InvalidProof, Malformed, Parameters, Pine, Rejected, Report, SeedMismatch
from sparsefed.secagg.cheats import WRAPPING, BigBits, HonestFlags, LyingFlags, Unchecked, WrongRest
from sparsefed.secagg.circuits import NormEquality, Validity
from sparsefed.secagg.field import Q

LONG = [2**12, 4000]
"""1.4 times the bound, and still a norm that its bits can write."""


def nothing(*_: object) -> int:
    return 0


def test_four_large_numbers_have_a_tiny_norm_modulo_q():
    assert sum(x * x for x in WRAPPING) == Q + 9
    assert max(WRAPPING) > 1000 * small().bound


@pytest.mark.parametrize("cheat", [HonestFlags, LyingFlags])
def test_a_norm_that_wraps_around_q_is_rejected(cheat: type[Unchecked]):
    report = cheat(small()).send(WRAPPING, NONCE, random(0))
    with pytest.raises(InvalidProof):
        accepted(Pine(small()), report)


@pytest.mark.parametrize(("check", "cheat"), [("enough_in_range", HonestFlags), ("claims_true", LyingFlags)])
def test_without_either_wraparound_check_it_would_pass(
    monkeypatch: pytest.MonkeyPatch, check: str, cheat: type[Unchecked]
):
    monkeypatch.setattr(Validity, check, nothing)
    report = cheat(small()).send(WRAPPING, NONCE, random(0))
    assert accepted(Pine(small()), report)[:4].tolist() == WRAPPING


def test_wraparound_shows_at_the_largest_bound_and_not_at_the_largest_that_the_draft_allows():
    """W² ≤ 4000 q is not enough: all inner products of √q in four parts are within W = 2√q."""
    parameters = small(bound=2**24)
    with pytest.raises(InvalidProof):
        accepted(Pine(parameters), LyingFlags(parameters).send(WRAPPING, NONCE, random(0)))
    loose = small()
    vars(loose).pop("limit")
    object.__setattr__(loose, "bound", 2**29)  # which the constructor refuses
    assert loose.limit**2 <= 4000 * Q
    report = HonestFlags(loose).send(WRAPPING, NONCE, random(0))
    assert accepted(Pine(loose), report)[:4].tolist() == WRAPPING


@pytest.mark.parametrize("cheat", [Unchecked, BigBits, WrongRest])
def test_a_vector_beyond_the_bound_is_rejected_whatever_is_said_of_its_norm(cheat: type[Unchecked]):
    with pytest.raises(InvalidProof):
        accepted(Pine(small()), cheat(small()).send(LONG, NONCE, random(0)))


@pytest.mark.parametrize(
    ("circuit", "check", "cheat"),
    [
        (Validity, "all_bits", BigBits),
        (Validity, "norm_in_range", WrongRest),
        (NormEquality, "output", Unchecked),
    ],
)
def test_without_the_check_of_bits_range_or_norm_it_would_pass(
    monkeypatch: pytest.MonkeyPatch, circuit: type, check: str, cheat: type[Unchecked]
):
    monkeypatch.setattr(circuit, check, nothing)
    assert accepted(Pine(small()), cheat(small()).send(LONG, NONCE, random(0)))[:2].tolist() == LONG


def test_a_client_that_has_chosen_the_checks_is_rejected_for_their_seeds_only(
    monkeypatch: pytest.MonkeyPatch,
):
    parameters = Parameters(dimension=40, bound=2**24, proofs=1)
    report = ChosenChecks(parameters).send_long(NONCE, random(1), seed=0)
    with pytest.raises(SeedMismatch):
        accepted(Pine(parameters), report)
    monkeypatch.setattr(Pine, "_check_seeds", nothing)
    vector = accepted(Pine(parameters), report).astype(object)
    assert int((vector**2).sum()) > parameters.bound**2


def test_one_check_fewer_in_range_than_asked_for_is_rejected():
    class OneFlagDown(Unchecked):
        def _claims(self, products: np.ndarray) -> np.ndarray:
            claims = super()._claims(products)
            claims[-1] = 0
            return claims

    with pytest.raises(InvalidProof):
        accepted(Pine(small()), OneFlagDown(small()).send([5], NONCE, random(0)))


def test_a_report_under_another_nonce_or_another_devices_public_part_is_rejected():
    pine = Pine(small())
    mine, other = (pine.shard(np.arange(10), NONCE, random(i)) for i in range(2))
    with pytest.raises(Rejected):
        accepted(pine, mine, bytes(16))
    with pytest.raises(Rejected):
        accepted(pine, mine._replace(public=other.public))
    with pytest.raises(Rejected):
        accepted(pine, mine._replace(shares=(mine.shares[0], other.shares[1])))


def test_messages_of_the_wrong_length_or_with_numbers_not_below_q_cannot_be_read():
    pine = Pine(small())
    report = pine.shard(np.arange(10), NONCE, random(0))
    leader, helper = report.shares
    for shares in ((leader[:-1], helper), (leader, helper + b"\0"), (b"", helper), (leader, b"")):
        with pytest.raises(Malformed):
            accepted(pine, Report(report.public, shares))
    with pytest.raises(Malformed):
        accepted(pine, report._replace(public=report.public[1:]))
    with pytest.raises(Malformed):
        accepted(pine, Report(report.public, (Q.to_bytes(8, "little") + leader[8:], helper)))
    prepared = pine.prepare(KEY, 0, NONCE, report.public, leader)
    for message in (b"", b"\xff" * len(prepared.message), prepared.message[:-1]):
        with pytest.raises(Malformed):
            pine.merge(prepared, (prepared.message, message))


def test_of_a_thousand_corruptions_of_every_field_none_is_accepted_and_none_crashes():
    """A bit, a byte or the length: of the public part, either share, and either message on its way."""
    pine = Pine(small(dimension=3, bound=64, checks=8, successes=8, proofs=1, norm_proofs=1))
    report = pine.shard(np.array([30, -30, 7]), NONCE, random(0))
    prepared = [pine.prepare(KEY, i, NONCE, report.public, report.shares[i]) for i in range(2)]
    draw = np.random.default_rng(0)

    def outcome(changed: list[bytes]) -> bool:
        public, leader, helper, *messages = changed
        fresh = [
            mine
            if (public, share) == (report.public, report.shares[i])
            else pine.prepare(KEY, i, NONCE, public, share)
            for i, (mine, share) in enumerate(zip(prepared, (leader, helper), strict=True))
        ]
        for i in range(2):  # each aggregator has its own message as it made it
            sent = [messages[j] or fresh[j].message for j in range(2)]
            sent[i] = fresh[i].message
            pine.merge(fresh[i], (sent[0], sent[1]))
        return True

    fields = [report.public, *report.shares, b"", b""]
    assert outcome(fields)
    for place in range(5):
        for _ in range(1000):
            changed = list(fields)
            original = fields[place] or prepared[place - 3].message
            changed[place] = _corrupted(original, draw)
            with pytest.raises(Rejected):
                outcome(changed)


def _corrupted(data: bytes, draw: np.random.Generator) -> bytes:
    at, kind = int(draw.integers(len(data))), draw.integers(4)
    if kind == 0:
        return data[:at] + data[at + 1 :]
    changed = bytearray(data)
    changed[at] ^= 1 << int(draw.integers(8)) if kind < 3 else int(draw.integers(1, 256))
    return bytes(changed)
