"""Leader and helper in one process: what is counted, what is refused, and what a crash leaves behind."""

import secrets
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from sparsefed import RunError, UpdateError
from sparsefed.secagg import InvalidProof, Malformed, Rejected
from sparsefed.secagg.cheats import WRAPPING, HonestFlags, LyingFlags, Unchecked
from sparsefed.secagg.service import leader as leader_module, ledger as ledger_module
from sparsefed.secagg.service.device import agreed_round, sealed_submission, submission
from sparsefed.secagg.service.helper import Helper
from sparsefed.secagg.service.leader import Leader
from sparsefed.secagg.service.rounds import (
    Duplicate,
    Late,
    Round,
    RoundAborted,
    Submission,
    WrongRound,
    pack,
    unpack,
)

ROUND = Round("digits", 1, 6, norm=1.0, min_batch=2, deadline=100.0, bits=12)


class Pair:
    """Both servers, with a clock that stands still, until they are restarted from their folders."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.now = folder, 0.0
        self.restart()

    def restart(self) -> None:
        self.helper = Helper(self.folder / "helper")
        self.leader = Leader(self.folder / "leader", self.helper, lambda: self.now)

    def sent(self, device: str, vector: list[float]) -> Submission:
        round, keys = agreed_round(self.leader, self.helper)
        return submission(device, np.array(vector), round, keys)

    def result(self, number: int = 1) -> dict:
        self.now = 1000.0
        return self.leader.result(number)


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    servers = Pair(tmp_path)
    servers.leader.begin(ROUND)
    return servers


VECTORS = {"ann": [0.5, -0.25, 0, 0, 0, 0.125], "bob": [0, 0, 0.75, 0, 0, 0], "cid": [-0.5, 0, 0, 0.5, 0, 0]}


def test_the_sum_is_released_once_the_round_has_ended(pair: Pair):
    for device, vector in VECTORS.items():
        assert pair.leader.report(pair.sent(device, vector)) == "accepted"
    with pytest.raises(WrongRound, match="found one that is open"):
        pair.leader.result(1)
    for _ in range(2):  # always the same
        found = pair.result()
        np.testing.assert_array_equal(found["sum"], np.sum(list(VECTORS.values()), axis=0))
        assert found["count"] == 3
        assert found["reports"] == dict.fromkeys(VECTORS, "accepted")


def cheating(pair: Pair, device: str, kind: type[Unchecked], vector: list[int]) -> Submission:
    round, keys = agreed_round(pair.leader, pair.helper)
    salt = secrets.token_bytes(16)
    report = kind(round.pine.parameters).send(vector, round.nonce(device, salt), secrets.token_bytes(224))
    return sealed_submission(device, salt, report, round, keys)


def test_whoever_cheats_is_left_out_and_the_round_goes_on(pair: Pair):
    for device, vector in VECTORS.items():
        pair.leader.report(pair.sent(device, vector))
    for device, kind, vector in (
        ("long", Unchecked, [5000]),
        ("wrapping", HonestFlags, WRAPPING),
        ("lying", LyingFlags, WRAPPING),
    ):
        with pytest.raises(InvalidProof):
            pair.leader.report(cheating(pair, device, kind, vector))
    found = pair.result()
    assert found["count"] == 3
    assert found["reports"]["lying"] == "InvalidProof"
    np.testing.assert_array_equal(found["sum"], np.sum(list(VECTORS.values()), axis=0))


def test_a_report_is_counted_once_however_often_it_comes(pair: Pair):
    report = pair.sent("ann", VECTORS["ann"])
    for _ in range(3):
        assert pair.leader.report(report) == "accepted"
    pair.restart()
    assert pair.leader.report(report) == "accepted"
    with pytest.raises(Duplicate):
        pair.leader.report(pair.sent("ann", VECTORS["bob"]))
    pair.leader.report(pair.sent("bob", VECTORS["bob"]))
    assert pair.result()["sum"].tolist() == np.add(VECTORS["ann"], VECTORS["bob"]).tolist()


def test_another_devices_report_under_an_own_name_is_refused(pair: Pair):
    report = pair.sent("ann", VECTORS["ann"])
    with pytest.raises(Malformed):  # neither server can open a share that is bound to another name
        pair.leader.report(report._replace(device="eve"))


def test_reports_of_other_rounds_and_tasks_are_refused(pair: Pair):
    old = pair.sent("ann", VECTORS["ann"])
    pair.leader.begin(ROUND._replace(number=2))
    for report in (old, old._replace(number=3), old._replace(number=2, task="other")):
        with pytest.raises(WrongRound):
            pair.leader.report(report)
    with pytest.raises(Malformed):
        pair.leader.report(old._replace(number=2))
    with pytest.raises(WrongRound):
        pair.leader.begin(ROUND)


def test_a_late_report_is_refused(pair: Pair):
    report = pair.sent("ann", VECTORS["ann"])
    pair.now = 101.0
    with pytest.raises(Late):
        pair.leader.report(report)
    pair.now = 0.0
    pair.leader.end(1)
    with pytest.raises(Late):
        pair.leader.report(report)


def test_the_sum_of_too_few_reports_is_never_released(pair: Pair):
    pair.leader.report(pair.sent("ann", VECTORS["ann"]))
    with pytest.raises(RoundAborted):
        pair.result()
    for accepted in (pair.leader.book(1).set_digest, "aborted", ""):
        with pytest.raises(RoundAborted):
            pair.helper.release(1, accepted, 2)
    pair.restart()
    with pytest.raises(RoundAborted):
        pair.result()


def test_the_helper_releases_its_share_for_one_set_only(pair: Pair):
    for device, vector in VECTORS.items():
        pair.leader.report(pair.sent(device, vector))
    book = pair.leader.book(1)
    share = pair.helper.release(1, book.set_digest, 3)
    assert pair.helper.release(1, book.set_digest, 3) == share  # asked again after a crash
    with pytest.raises(RoundAborted):
        pair.helper.release(1, "0" * 64, 3)
    late = pair.sent("dan", VECTORS["ann"])
    with pytest.raises(WrongRound):
        pair.helper.check(late, b"")


def test_a_leader_that_leaves_out_or_adds_a_report_gets_nothing(pair: Pair):
    for device, vector in VECTORS.items():
        pair.leader.report(pair.sent(device, vector))
    del pair.leader.book(1).reports["cid"]
    with pytest.raises(RoundAborted):
        pair.result()


def test_devices_take_part_only_if_both_servers_announce_the_same_round(pair: Pair):
    pair.helper.books[1].round = ROUND._replace(norm=100.0)
    with pytest.raises(UpdateError, match="two servers that announce one round"):
        pair.sent("ann", VECTORS["ann"])


def test_what_is_not_finite_is_not_sent(pair: Pair):
    with pytest.raises(UpdateError, match="finite"):
        pair.sent("ann", [np.nan] * 6)


def test_a_damaged_state_is_refused_in_one_line(pair: Pair):
    path = pair.folder / "helper" / "000001.round"
    data = bytearray(path.read_bytes())
    data[60] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(RunError, match="expected a round's state"):
        pair.restart()


class Crash(BaseException):
    """The power fails."""


def crashing(write: Callable[[Path, bytes], None], at: int, after: bool) -> Callable[[Path, bytes], None]:
    """A write that fails at the `at`-th call, before or after it has reached the disk."""
    calls: Iterator[int] = count()

    def writes(path: Path, content: bytes) -> None:
        fails = next(calls) == at
        if fails and not after:
            raise Crash
        write(path, content)
        if fails:
            raise Crash

    return writes


@pytest.mark.parametrize("after", [False, True])
def test_a_crash_at_any_write_loses_nothing_and_counts_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: bool
):
    """Both servers go down together at every write there is; what was sent is sent again, or was kept."""
    write, crashes = ledger_module.write_atomically, 0
    vectors = {device: VECTORS[device] for device in ("ann", "bob")}
    for at in count():
        pair = Pair(tmp_path / str(at))
        pair.leader.begin(ROUND)
        reports = [pair.sent(device, vector) for device, vector in vectors.items()]
        reports.append(cheating(pair, "lying", LyingFlags, WRAPPING))
        failing = crashing(write, at, after)
        crashed = False
        for report in [*reports, None]:
            for _ in range(2):
                with monkeypatch.context() as patch:
                    for module in (ledger_module, leader_module):
                        patch.setattr(module, "write_atomically", failing)
                    try:
                        pair.result() if report is None else pair.leader.report(report)
                    except Crash:
                        crashed = True
                        pair.restart()
                        continue
                    except Rejected:
                        pass
                    break
        found = pair.result()
        assert found["reports"] == {**dict.fromkeys(vectors, "accepted"), "lying": "InvalidProof"}
        np.testing.assert_array_equal(found["sum"], np.sum(list(vectors.values()), axis=0))
        assert not list((pair.folder / "leader").glob("*.report"))
        if not crashed:
            break
        crashes += 1
    assert crashes > 9


def test_a_report_that_a_crash_left_undecided_is_decided_before_the_sum_is_released(pair: Pair, monkeypatch):
    for device in ("ann", "bob"):
        pair.leader.report(pair.sent(device, VECTORS[device]))
    left = pair.sent("cid", VECTORS["cid"])
    monkeypatch.setattr(pair.helper, "check", lambda *_: (_ for _ in ()).throw(ConnectionError()))
    with pytest.raises(ConnectionError):
        pair.leader.report(left)
    with pytest.raises(ConnectionError):  # nothing is released while the helper is away
        pair.result()
    pair.restart()
    assert pair.result()["count"] == 3


@pytest.mark.parametrize("data", [b"", b"\0", bytes(8), pack({}), b"\xff" * 40, pack({"task": 1})])
def test_bytes_that_are_no_report_are_malformed(data: bytes):
    with pytest.raises(Malformed):
        Submission.unpacked(data)


def test_packed_is_unpacked(pair: Pair):
    report = pair.sent("ann", VECTORS["ann"])
    assert Submission.unpacked(report.packed()) == report
    assert unpack(pack({"a": 1}, b"", b"x")) == ({"a": 1}, [b"", b"x"])
    draw = np.random.default_rng(0)
    for _ in range(300):
        changed = bytearray(report.packed())
        changed[int(draw.integers(len(changed)))] ^= int(draw.integers(1, 256))
        with pytest.raises(Rejected):
            pair.leader.report(Submission.unpacked(bytes(changed))._replace(device="eve"))
