"""Where the searches of a folder of runs are kept: a journal of Optuna's for each plan."""

from pathlib import Path
from typing import Any

from sparsefed.core.files import readable_errors
from sparsefed.frontier.plan import Plan

__all__ = ["searches_in", "storage_in", "study_of"]

_KNOBS = "knobs"


def searches_in(folder: Path) -> Path:
    """Where searches keep what is theirs in a folder of runs: their runs stay apart from the user's own."""
    return folder / "frontier"


def storage_in(folder: Path, plan: Plan) -> Any:
    """Optuna's journal for a plan's searches, in a folder of runs."""
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend
    from optuna.storages.journal._file import get_lock_file

    path = searches_in(folder) / f"{plan.identity()}.journal"
    with readable_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        backend = JournalFileBackend(str(path))
        with get_lock_file(backend._lock):
            _cut_torn_line(path)
        return JournalStorage(backend)


def _cut_torn_line(path: Path) -> None:
    """A full disk may leave half of a last line, to which the next would be appended."""
    with path.open("rb+") as file:
        whole = file.read().rfind(b"\n") + 1
        file.truncate(whole)


def study_of(name: str, storage: Any, knobs: list[str]) -> Any:
    """Optuna's study of that name in which exactly these knobs are turned: others were not fixed then."""
    import optuna

    for full in (name, f"{name} | {', '.join(knobs)}"):
        study = optuna.create_study(
            study_name=full, storage=storage, directions=["maximize", "minimize"], load_if_exists=True
        )
        if study.user_attrs.get(_KNOBS, knobs) == knobs:
            break
    study.set_user_attr(_KNOBS, knobs)
    return study
