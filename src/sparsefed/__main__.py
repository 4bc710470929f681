"""The command `sparsefed`, also as `python -m sparsefed`."""

import os
import signal
from typing import NoReturn


def main() -> None:
    """Start the command line; until it has something to save, Ctrl-C ends it at once with one line."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, _stopped)
    from sparsefed.cli import main as command_line

    command_line()


def _stopped(*_: object) -> NoReturn:
    """An exception would surface as some other error from the middle of an import."""
    os.write(2, b"sparsefed: stopped\n")
    os._exit(130)


if __name__ == "__main__":
    main()
