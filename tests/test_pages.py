"""Every block of code on every page works as it stands, and does what the page says."""

import importlib
import shutil
import sys
from pathlib import Path

import pytest
from pages import ROOT, blocks, pages, shortened, tried


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder with the examples, cut to few rounds."""
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    for example in tmp_path.glob("examples/**/*.toml"):
        example.write_text(shortened(example.read_text()))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", [page for page in pages() if blocks(page)])
def test_every_block_of_a_page_works_as_it_stands(page: str, here: Path, capsys: pytest.CaptureFixture[str]):
    names: dict[str, object] = {}
    before = set(sys.modules)
    for block in blocks(page):
        tried(block, names)
    for module in set(sys.modules) - before:
        if getattr(sys.modules[module], "__file__", None) == str(here / f"{module}.py"):
            del sys.modules[module]
    importlib.invalidate_caches()
    capsys.readouterr()
