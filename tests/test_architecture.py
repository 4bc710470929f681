"""The documented structure is the real one."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "sparsefed"


def documented() -> list[str]:
    tree = (ROOT / "docs" / "architecture.md").read_text().split("src/sparsefed/\n")[1].split("```")[0]
    return re.findall(r"^  (\w+)/", tree, re.MULTILINE)


def test_the_documented_tree_is_the_tree_on_disk() -> None:
    on_disk = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert set(documented()) == on_disk
    assert {path.name for path in PACKAGE.glob("*.py")} == {"__init__.py", "__main__.py"}


def test_the_layers_that_are_checked_are_those_of_the_documented_tree() -> None:
    settings = (ROOT / "pyproject.toml").read_text()
    layers = re.findall(r'^  "(\w+)",$', settings.split("layers = [")[1].split("]")[0], re.MULTILINE)
    assert documented() == layers


def test_files_that_the_documentation_points_to_exist() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    table = text.split("| looking for")[1].split("\n\n")[0]
    for name in re.findall(r"`([\w/.-]+(?:\.py|\.md|/))`", table):
        assert (PACKAGE / name).exists() or (ROOT / name).exists(), name
