"""The command line: parse, call, print."""

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from cyclopts import App, CycloptsError, ValidationError

import sparsefed
from sparsefed.cli import audit, board, data, looks, paper, parts, runs, search, secagg, tables, theory
from sparsefed.core.errors import SparseFedError
from sparsefed.core.notices import show_in_one_line

__all__ = ["app", "main"]

app = App(
    "sparsefed",
    help="Federated learning under attack: simulate, attack, defend, certify.",
    help_format="plaintext",  # examples stay as they are written; Markdown would take a while to load
    version=lambda: sparsefed.__version__,
)
data_app = App("data", help="Data sets: what is here, and how to get the rest.")
data_app.default(parts.flowing(data.available))
data_app.command(parts.flowing(data.fetch))
app.command(data_app)
secagg_app = App("secagg", help="Secure aggregation with verified norms: two servers, and a demonstration.")
for command in (secagg.demo, secagg.leader, secagg.helper, secagg.certificates):
    secagg_app.command(parts.flowing(command))
app.command(secagg_app)
for command in (
    runs.run,
    looks.show,
    looks.compare,
    tables.table,
    paper.paper,
    tables.report,
    runs.demo,
    theory.choose_k,
    theory.certify,
    search.frontier,
    search.tune,
    audit.audit,
    board.leaderboard,
):
    app.command(parts.flowing(command))
app.command(parts.flowing(looks.list_), name="list")
app.command(partial(tables.table, kind="figure"), name="figure", help=tables.FIGURE)
app.register_install_completion_command(help="Install completion of commands and options for your shell.")


def main(words: Sequence[str] | None = None) -> None:
    """Run the command line; what the caller can mend is one line on the error output and exit code 2."""
    sys.path.insert(0, str(Path.cwd()))  # `type = "my_module:MyRule"` of the folder one stands in
    app.suppress_keyboard_interrupt = False
    show_in_one_line()
    typed = list(sys.argv[1:] if words is None else words)
    parts.typed_words(typed)
    try:
        app(typed, exit_on_error=False, print_error=False)
    except ValidationError as problem:  # of a file that is typed after an option
        option = problem.argument.tokens[0].keyword if problem.argument and problem.argument.tokens else None
        _fail(f"{option}: {problem.exception_message}" if option else " ".join(str(problem).split()), 2)
    except CycloptsError as problem:
        _fail(parts.complaint(problem), 2)
    except SparseFedError as problem:
        _fail(" ".join(str(problem).split()), 2)
    except KeyboardInterrupt as stop:
        _fail(str(stop) or "stopped", 130)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of a pipe has gone: nothing to say, and nobody to say it to
        sys.exit(1)


def _fail(line: str, code: int) -> None:
    print(f"sparsefed: {line}", file=sys.stderr)
    sys.exit(code)
