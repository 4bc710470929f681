"""How long a command takes before it does anything."""

import subprocess
import sys

from benchmarks.harness import Contender, Goal, Row


def command(*words: str) -> Contender:
    """A whole process, from its start to its end."""

    def run() -> None:
        subprocess.run([sys.executable, "-m", "sparsefed", *words], check=True, stdout=subprocess.DEVNULL)

    return run


ROWS = {
    "startup_help": Row(
        "sparsefed --help, a whole process", Goal("≤", 400, "ms"), lambda: {"--help": command("--help")}
    ),
    "startup_version": Row(
        "sparsefed --version, a whole process",
        Goal("≤", 400, "ms"),
        lambda: {"--version": command("--version")},
    ),
}
