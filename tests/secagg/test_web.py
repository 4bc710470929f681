"""Both servers behind HTTPS: who may ask for what, and that a round goes through."""

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

from sparsefed import RunError
from sparsefed.secagg import InvalidProof
from sparsefed.secagg.cheats import LyingFlags
from sparsefed.secagg.service.certificates import Credentials, make_certificates
from sparsefed.secagg.service.device import agreed_round, sealed_submission, submission
from sparsefed.secagg.service.helper import Helper
from sparsefed.secagg.service.leader import Leader
from sparsefed.secagg.service.rounds import Round, RoundAborted, WrongRound, pack
from sparsefed.secagg.service.web import Remote, RemoteHelper, RemoteLeader, web_server

HERE = ("127.0.0.1", 0)


class Servers:
    """Leader and helper, each in a thread of its own, and the files of everybody."""

    def __init__(self, folder: Path) -> None:
        self.certificates, self.web = folder / "certificates", []
        make_certificates(self.certificates, ["leader", "helper", "operator", "ann", "bob", "eve"])
        self.helper = self._start(Helper(folder / "helper"), "helper")
        self.leader = self._start(
            Leader(folder / "leader", RemoteHelper(self.helper, self.credentials("leader"))), "leader"
        )

    def credentials(self, name: str) -> Credentials:
        return Credentials.of(self.certificates, name)

    def _start(self, server: Leader | Helper, name: str) -> str:
        web = web_server(server, HERE, self.credentials(name))
        web.prepare()
        thread = Thread(target=web.serve, daemon=True)
        thread.start()
        self.web.append((web, thread))
        return f"https://127.0.0.1:{web.bind_addr[1]}"

    def as_leader_sees(self, name: str) -> RemoteLeader:
        return RemoteLeader(self.leader, self.credentials(name))

    def as_helper_sees(self, name: str) -> RemoteHelper:
        return RemoteHelper(self.helper, self.credentials(name))

    def stop(self) -> None:
        for web, thread in self.web:
            web.stop()
            thread.join()


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    running = Servers(tmp_path_factory.mktemp("servers"))
    yield running
    running.stop()


def a_round(number: int, **changes: object) -> Round:
    return Round("t", number, 6, norm=1.0, min_batch=2, deadline=1e12, bits=12)._replace(**changes)


def test_a_round_goes_through_and_a_cheat_is_told_why(servers: Servers):
    operator = servers.as_leader_sees("operator")
    operator.begin(a_round(1))
    for device in ("ann", "bob"):
        leader = servers.as_leader_sees(device)
        round, keys = agreed_round(leader, servers.as_helper_sees(device))
        assert leader.report(submission(device, np.full(6, 0.25), round, keys)) == "accepted"
    salt = bytes(16)
    wrapping = LyingFlags(round.pine.parameters).send([4000, 4000], round.nonce("eve", salt), bytes(224))
    with pytest.raises(InvalidProof):
        servers.as_leader_sees("eve").report(sealed_submission("eve", salt, wrapping, round, keys))
    with pytest.raises(WrongRound):
        operator.result(1)
    operator.end(1)
    found = operator.result(1)
    np.testing.assert_array_equal(found["sum"], np.full(6, 0.5))
    assert found["reports"] == {"ann": "accepted", "bob": "accepted", "eve": "InvalidProof"}


def test_a_round_of_nobody_is_aborted(servers: Servers):
    operator = servers.as_leader_sees("operator")
    operator.begin(a_round(2))
    operator.end(2)
    with pytest.raises(RoundAborted):
        operator.result(2)


def test_a_device_speaks_for_itself_only_and_runs_no_rounds(servers: Servers):
    servers.as_leader_sees("operator").begin(a_round(3))
    leader, helper = servers.as_leader_sees("ann"), servers.as_helper_sees("ann")
    round, keys = agreed_round(leader, helper)
    report = submission("bob", np.zeros(6), round, keys)
    for forbidden in (
        lambda: leader.report(report),
        lambda: leader.begin(a_round(4)),
        lambda: leader.end(3),
        lambda: leader.result(3),
        lambda: helper.check(report, b""),
        lambda: helper.release(3, "", 2),
        lambda: helper.abort(3),
        lambda: helper.open_round(a_round(9), bytes(32)),
        lambda: leader.ask("/elsewhere"),
    ):
        with pytest.raises(RunError, match=r"status 40[34]"):
            forbidden()


def test_requests_that_make_no_sense_are_refused_and_the_server_lives(servers: Servers):
    operator = servers.as_leader_sees("operator")
    for path, body in (
        ("/begin", b"\0"),
        ("/begin", pack({"task": 1})),
        ("/result", pack({"number": "x"})),
        ("/report", b""),
        ("/end", pack({})),
    ):
        with pytest.raises((RunError, ValueError)):
            operator.ask(path, body)
    assert operator.announced().number >= 1


def test_nobody_without_a_certificate_is_heard(servers: Servers):
    host, _, port = servers.leader.removeprefix("https://").partition(":")
    context = ssl.create_default_context(cafile=str(servers.credentials("ann").authority))
    with pytest.raises((ssl.SSLError, ConnectionError)):
        heard(context, host, int(port))


def heard(context: ssl.SSLContext, host: str, port: int) -> None:
    with (
        socket.create_connection((host, port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname=host) as tls,
    ):
        tls.sendall(b"POST /round HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        if not tls.recv(1):
            raise ConnectionError


def test_a_stranger_with_certificates_of_its_own_is_no_server_and_no_device(servers: Servers, tmp_path: Path):
    make_certificates(tmp_path, ["ann", "leader"])
    stranger = Credentials.of(tmp_path, "ann")
    trusting = stranger._replace(authority=servers.credentials("ann").authority)
    for credentials in (stranger, trusting):
        with pytest.raises(ConnectionError):
            RemoteLeader(servers.leader, credentials).announced()


def test_one_server_cannot_pass_for_the_other(servers: Servers):
    with pytest.raises(ConnectionError, match="expected the certificate of the helper"):
        RemoteHelper(servers.leader, servers.credentials("ann")).announced()


def test_a_server_that_is_not_there_is_named(servers: Servers):
    with pytest.raises(ConnectionError, match=r"leader at 127.0.0.1:1"):
        RemoteLeader("https://127.0.0.1:1", servers.credentials("ann")).announced()
    with pytest.raises(RunError, match="expected an address"):
        Remote("http://127.0.0.1", "leader", servers.credentials("ann"))
