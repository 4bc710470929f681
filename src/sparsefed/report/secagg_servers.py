"""Leader and helper as processes of this machine, which can be killed and started again while they work."""

import multiprocessing
import random
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import Self, TypeVar

from sparsefed.core.errors import RunError
from sparsefed.secagg.service.certificates import Credentials, make_certificates
from sparsefed.secagg.service.device import agreed_round
from sparsefed.secagg.service.helper import Helper
from sparsefed.secagg.service.leader import Leader
from sparsefed.secagg.service.rounds import Round
from sparsefed.secagg.service.web import RemoteHelper, RemoteLeader, web_server

__all__ = ["Servers", "patiently"]

T = TypeVar("T")
PATIENCE = 300.0
"""Seconds to wait for a server that is starting."""
_draw = random.SystemRandom()
_fresh = multiprocessing.get_context(
    "forkserver"
)  # one process imports everything, and others begin as its copy
_fresh.set_forkserver_preload([__name__])


def patiently(ask: Callable[[], T]) -> T:
    """Ask again while there is no answer."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            return ask()
        except ConnectionError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


class Servers:
    """Both servers in processes, with certificates for everybody.

    Of so many `reports`, `kills` are drawn during which one of the servers is killed and started again.
    """

    def __init__(self, folder: Path, devices: list[str], reports: int, kills: int) -> None:
        self.folder, self.killed, self.sent, self.pace = folder, 0, 0, 0.1
        self.due = Counter(_draw.choices(range(reports), k=kills))
        make_certificates(folder / "certificates", ["leader", "helper", "operator", *devices])
        self.ports = {"leader": _free_port(), "helper": _free_port()}
        self.processes: dict[str, BaseProcess] = {}

    def __enter__(self) -> Self:
        for role in self.ports:
            self._start(role)
        for server in (self.operator, RemoteHelper(self._address("helper"), self._credentials("operator"))):
            patiently(lambda server=server: _answers(server))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        for process in self.processes.values():
            process.terminate()
            process.join()

    @property
    def operator(self) -> RemoteLeader:
        """The leader, as seen by who runs the rounds."""
        return self.leader_for("operator")

    def leader_for(self, name: str) -> RemoteLeader:
        """The leader, as somebody sees it."""
        return RemoteLeader(self._address("leader"), self._credentials(name))

    def seen_by(self, name: str) -> tuple[Round, tuple[bytes, bytes]]:
        """The round that both servers announce to a device, and their keys."""
        helper = RemoteHelper(self._address("helper"), self._credentials(name))
        return patiently(lambda: agreed_round(self.leader_for(name), helper))

    @contextmanager
    def reporting(self) -> Iterator[None]:
        """A report is on its way inside; a server may be killed at any moment of it."""
        times, begin = self.due[self.sent], time.monotonic()
        self.sent += 1
        killer = Thread(target=self._kill, args=(times,))
        killer.start()
        yield
        killer.join()
        if not times:
            self.pace = time.monotonic() - begin

    def _kill(self, times: int) -> None:
        for _ in range(times):
            time.sleep(_draw.uniform(0, self.pace))
            role = _draw.choice(list(self.processes))
            self.processes[role].kill()
            self.processes[role].join()
            self._start(role)
            self.killed += 1

    def _start(self, role: str) -> None:
        arguments = role, self.folder, self.ports[role], self._address("helper")
        self.processes[role] = _fresh.Process(target=_serve, args=arguments, daemon=True)
        self.processes[role].start()

    def _address(self, role: str) -> str:
        return f"https://127.0.0.1:{self.ports[role]}"

    def _credentials(self, name: str) -> Credentials:
        return Credentials.of(self.folder / "certificates", name)


def _serve(role: str, folder: Path, port: int, helper: str) -> None:
    sys.stdout = sys.stderr = (folder / f"{role}.log").open("a", buffering=1)
    mine = Credentials.of(folder / "certificates", role)
    server = Helper(folder / role) if role == "helper" else Leader(folder / role, RemoteHelper(helper, mine))
    web_server(server, ("127.0.0.1", port), mine).start()


def _answers(server: RemoteLeader | RemoteHelper) -> None:
    try:
        server.ask("/round")
    except (RunError, ValueError):  # there is no round yet
        return


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
