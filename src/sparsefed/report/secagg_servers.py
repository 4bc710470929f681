"""Leader and helper as processes of this machine, which can be killed and started again while they work."""

import random
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread
from types import TracebackType
from typing import Self, TypeVar

from sparsefed.core.errors import RunError
from sparsefed.secagg.service.certificates import Credentials, make_certificates
from sparsefed.secagg.service.device import agreed_round
from sparsefed.secagg.service.rounds import Round
from sparsefed.secagg.service.web import RemoteHelper, RemoteLeader

__all__ = ["Servers", "patiently"]

T = TypeVar("T")
PATIENCE = 120.0
"""Seconds to wait for a server that is starting."""


def patiently(ask: Callable[[], T]) -> T:
    """Ask again while there is no answer."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            return ask()
        except ConnectionError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)


class Servers:
    """Both servers in processes, with certificates for everybody."""

    def __init__(self, folder: Path, devices: list[str], kills: int) -> None:
        self.folder, self.kills, self.killed = folder, kills, 0
        self.certificates = folder / "certificates"
        make_certificates(self.certificates, ["leader", "helper", "operator", *devices])
        self.ports = {"leader": _free_port(), "helper": _free_port()}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.stopping, self.killer = Event(), Thread(target=self._kill_at_random, daemon=True)

    def __enter__(self) -> Self:
        for role in ("helper", "leader"):
            self._start(role)
        for role in (self.operator, RemoteHelper(self.address("helper"), self._credentials("operator"))):
            patiently(lambda role=role: _answers(role))
        self.killer.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self.stopping.set()
        self.killer.join()
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            process.wait()

    @property
    def operator(self) -> RemoteLeader:
        """Who runs the rounds."""
        return self.leader_for("operator")

    def leader_for(self, name: str) -> RemoteLeader:
        """The leader, as somebody sees it."""
        return RemoteLeader(self.address("leader"), self._credentials(name))

    def seen_by(self, name: str) -> tuple[Round, tuple[bytes, bytes]]:
        """The round that both servers announce to a device, and their keys."""
        helper = RemoteHelper(self.address("helper"), self._credentials(name))
        return patiently(lambda: agreed_round(self.leader_for(name), helper))

    def address(self, role: str) -> str:
        """Where a server listens."""
        return f"https://127.0.0.1:{self.ports[role]}"

    def wait_for_kills(self, share: float) -> None:
        """Wait until so large a share of the kills has happened."""
        while self.killed < int(share * self.kills):
            time.sleep(0.05)

    def _credentials(self, name: str) -> Credentials:
        return Credentials.of(self.certificates, name)

    def _start(self, role: str) -> None:
        mine = self._credentials(role)
        words = ["secagg", role, "--state", self.folder / role, "--listen", f"127.0.0.1:{self.ports[role]}"]
        words += ["--certificate", mine.certificate, "--key", mine.key, "--authority", mine.authority]
        if role == "leader":
            words += ["--helper", self.address("helper")]
        with (self.folder / f"{role}.log").open("ab") as log:
            command = [sys.executable, "-m", "sparsefed", *map(str, words)]
            self.processes[role] = subprocess.Popen(command, stdout=log, stderr=log)

    def _kill_at_random(self) -> None:
        draw = random.SystemRandom()
        while self.killed < self.kills and not self.stopping.wait(draw.uniform(0, 1.5)):
            role = draw.choice(["leader", "helper"])
            self.processes[role].kill()
            self.processes[role].wait()
            self._start(role)
            self.killed += 1
            self._until_it_lives(role)

    def _until_it_lives(self, role: str) -> None:
        remote = RemoteLeader if role == "leader" else RemoteHelper
        patiently(lambda: _answers(remote(self.address(role), self._credentials("operator"))))


def _answers(server: RemoteLeader | RemoteHelper) -> None:
    try:
        server.ask("/round")
    except (RunError, ValueError):  # there is no round yet
        return


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
