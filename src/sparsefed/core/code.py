"""Which Python files a class or function of the user's own is made of, and what they say."""

import ast
import inspect
from contextlib import suppress
from modulefinder import ModuleFinder
from pathlib import Path
from typing import Any

__all__ = ["code_files", "code_of"]

OURS = ("sparsefed", "torch", "numpy")
"""Packages never followed, wherever they are."""


def code_files(thing: Any) -> dict[str, Path]:
    """The file of a class or function, and the modules beside it that it imports, by their names.

    Of an installed package only the file itself; nothing of what was built in or typed at a prompt.
    """
    found = None
    with suppress(TypeError):
        found = inspect.getsourcefile(inspect.unwrap(thing))
    if found is None:
        return {}
    file, module = Path(found).resolve(), thing.__module__
    packages = 0 if module == "__main__" else module.count(".") + (file.name == "__init__.py")
    root = file.parents[packages]
    files = {file}
    if not {"site-packages", "dist-packages"} & set(root.parts):
        files |= _imported(module, file, root)
    return {path.relative_to(root).as_posix(): path for path in sorted(files)}


def _imported(module: str, file: Path, root: Path) -> set[Path]:
    """The files under `root` that a module imports, directly or not."""
    finder = ModuleFinder([str(root)], excludes=OURS)
    with suppress(Exception):  # a module that is not used may be no Python at all
        finder.run_script(str(file)) if module == "__main__" else finder.import_hook(module)
    names = [getattr(part, "__file__", None) for part in finder.modules.values()]
    places = {Path(name).resolve() for name in names if name}
    return {place for place in places if place.is_relative_to(root)}


def code_of(path: Path) -> bytes | None:
    """A Python file without its comments and its layout; None if it is not Python."""
    with suppress(SyntaxError, ValueError):
        return ast.unparse(ast.parse(path.read_bytes())).encode("utf-8", "surrogatepass")
    return None
