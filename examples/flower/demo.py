"""A Flower federation of real processes: a SuperLink, five SuperNodes, one of them malicious.

python examples/flower/demo.py FOLDER

Plain FedAvg falls. SparseFed holds, although a node and then the server are killed in the middle.
"""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import numpy as np
import psutil
from sklearn.datasets import load_digits

APP = Path(__file__).parent
NODES, MALICIOUS = 5, 4
TOLD = re.compile(
    r"^.*(?:after round \d+: .*|going on after.*|round \d+: \d+: left out: .*|round \d+: skipped: .*)$", re.M
)


@contextmanager
def process(words: list[str], log: Path, environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A command of the same environment, which is killed at the end with all that it has started."""
    command = [str(Path(sys.executable).with_name(words[0])), *words[1:]]
    with log.open("ab") as file:
        child = subprocess.Popen(
            command,
            stdout=file,
            stderr=file,
            stdin=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
        )
    try:
        yield child
    finally:
        kill(child)


def kill(child: subprocess.Popen[bytes]) -> None:
    """End a process and all that it has started, at once: Flower's leave theirs behind."""
    with suppress(psutil.NoSuchProcess):
        parent = psutil.Process(child.pid)
        for each in (*parent.children(recursive=True), parent):
            with suppress(psutil.NoSuchProcess):
                each.kill()
    child.wait()


class Federation:
    """The processes, and the folder with their logs."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder, self.stack = folder, stack
        self.ports = free_ports(NODES + 1)
        self.environment = {**os.environ, "FLWR_HOME": str(folder), "FLWR_TELEMETRY_ENABLED": "0"}
        self.environment |= {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", "COLUMNS": "200"}
        here = str(Path(sys.executable).parent)  # Flower's processes start others by name
        self.environment["PATH"] = os.pathsep.join([here, os.environ.get("PATH", "")])
        x, y = load_digits(return_X_y=True)
        x = (x / 16).astype(np.float32)
        np.savez(folder / "digits.npz", x_train=x[:1400], y_train=y[:1400], x_test=x[1400:], y_test=y[1400:])
        address = f'address = "127.0.0.1:{self.ports[0]}"\ninsecure = true\n'
        (folder / "config.toml").write_text(f"[superlink.demo]\n{address}")
        self.superlink = self.link()
        self.supernodes = [self.node(number) for number in range(NODES)]

    def start(self, words: list[str], log: str) -> subprocess.Popen[bytes]:
        return self.stack.enter_context(process(words, self.folder / log, self.environment))

    def link(self) -> subprocess.Popen[bytes]:
        """The SuperLink, once it listens."""
        words = ["flower-superlink", "--insecure", "--port", str(self.ports[0])]
        words += ["--database", str(self.folder / "superlink.db")]  # or a new one would not know the nodes
        child = self.start([*words, "--disable-runtime-dependency-installation"], "superlink.log")
        for _ in range(600):
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.ports[0]), timeout=1):
                return child
            time.sleep(0.1)
        raise SystemExit(f"the SuperLink does not listen: see {self.folder / 'superlink.log'}")

    def node(self, number: int) -> subprocess.Popen[bytes]:
        """A SuperNode."""
        config = f"partition-id={number}" + " malicious=true" * (number == MALICIOUS)
        words = ["flower-supernode", "--insecure", "--superlink", f"127.0.0.1:{self.ports[0]}"]
        words += ["--port", str(self.ports[number + 1]), "--node-config", config]
        return self.start(words, f"node{number}.log")

    def run(self, strategy: str, rounds: int) -> "Run":
        """Submit the app, as its user does."""
        keys = {"strategy": strategy, "rounds": rounds, "data": str(self.folder / "digits.npz")}
        keys["checkpoint"] = str(self.folder / "server.safetensors")
        config = " ".join(
            f'{key}="{value}"' if key != "rounds" else f"{key}={value}" for key, value in keys.items()
        )
        log = self.folder / f"{strategy}-{time.monotonic_ns()}.log"
        words = ["flwr", "run", str(APP), "demo", "--stream", "--run-config", config]
        return Run(self.start(words, log.name), log)


class Run:
    """A run of the app, whose lines are shown as they come."""

    def __init__(self, child: subprocess.Popen[bytes], log: Path) -> None:
        self.child, self.log, self.shown = child, log, 0

    def until(self, text: str, seconds: float = 600) -> None:
        """Wait until the run has said `text`, or has ended."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            over = self.child.poll() is not None
            said = TOLD.findall(re.sub(r"\x1b\[[\d;]*m", "", self.log.read_text(errors="replace")))
            for line in said[self.shown :]:
                print(re.sub(r"^(INFO|WARNING) *: *", "", line), flush=True)
            self.shown = len(said)
            if over or any(text in line for line in said):
                return
            time.sleep(0.2)
        raise SystemExit(f"the run has not said {text!r}: see {self.log}")


def free_ports(count: int) -> list[int]:
    """Ports of this machine that nobody listens on."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in sockets]


def main(folder: Path, rounds: int = 4) -> None:
    """Both strategies on the same nodes."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the processes end with this one
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        federation = Federation(folder.resolve(), stack)
        federation.run("FedAvg", 2).until("after round 2")
        run = federation.run("SparseFed", rounds)
        run.until("after round 1:")
        kill(federation.supernodes[0])
        print("killed a SuperNode", flush=True)
        run.until("after round 2:")
        kill(federation.superlink)
        print("killed the SuperLink and the ServerApp", flush=True)
        federation.superlink = federation.link()
        federation.run("SparseFed", rounds).until(f"after round {rounds}:")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
