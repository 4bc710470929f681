"""Processes that tests start: with the usual signals, whatever the tests' own are, and ended at last."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

COMMAND = """
import signal
signal.signal(signal.SIGINT, signal.SIG_DFL)  # under nohup and in a shell's background it is ignored
from sparsefed.__main__ import main
main()
"""


@contextmanager
def sparsefed(*words: str, folder: Path) -> Iterator["subprocess.Popen[str]"]:
    """The command line in a folder, in a process group of its own that is killed at the end."""
    command = [sys.executable, "-c", COMMAND, *words]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=folder, process_group=0, **pipes) as process:
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
