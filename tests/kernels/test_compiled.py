"""Machine code on disk never outlives the sources it was made from."""

import shutil
import subprocess
import sys
from pathlib import Path

import numba
import pytest

from sparsefed.kernels import compiled, order_statistics
from sparsefed.kernels.compiled import sources_digest

SOURCES = Path(compiled.__file__).parent


def test_every_source_changes_the_name_of_the_cache(tmp_path: Path) -> None:
    copy = Path(shutil.copytree(SOURCES, tmp_path / "kernels"))
    assert sources_digest(copy) == sources_digest(SOURCES)
    names = {sources_digest(copy)}
    for file in copy.glob("*.py"):
        file.write_text(file.read_text() + "\n")
        names.add(sources_digest(copy))
    assert len(names) == 1 + len(list(copy.glob("*.py")))


def test_kernels_are_cached_under_that_name_and_numba_is_left_as_it_was() -> None:
    assert sources_digest(SOURCES) in order_statistics._reduce._on_many.stats.cache_path
    assert sources_digest(SOURCES) not in numba.config.CACHE_DIR


def test_nothing_is_compiled_by_defining_a_kernel() -> None:
    @compiled.kernel()
    def twice(x):
        return 2 * x

    assert twice.signatures == []
    assert twice(21) == 42
    assert len(twice.signatures) == 1


@pytest.mark.parametrize("work", [0, 1, 1 << 30])
def test_threads_are_given_back(work: int) -> None:
    before = numba.get_num_threads()
    with compiled.threads(work) as count:
        assert numba.get_num_threads() == count >= 1
    assert numba.get_num_threads() == before


def test_a_forked_process_computes_what_its_parent_does(tmp_path: Path) -> None:
    script = (
        "import os, torch, sparsefed as sf\n"
        "torch.set_num_threads(2)\n"
        "rule, updates = sf.SparseFed(k=1000), sf.dense(torch.randn(4, 200_000))\n"
        "state = rule.init(torch.zeros(200_000))\n"
        "delta = rule.step(updates, state)[0]\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    os._exit(0 if torch.equal(rule.step(updates, state)[0], delta) else 1)\n"
        "raise SystemExit(os.waitpid(child, 0)[1])\n"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False, timeout=120).returncode == 0


def test_where_nothing_can_be_written_nothing_is_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(compiled, "_SOURCES", tmp_path / "file")
    monkeypatch.setattr(compiled, "user_cache_dir", lambda _: str(tmp_path / "file" / "cache"))
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    monkeypatch.setattr(compiled, "_cache_folder", compiled._cache_folder.__wrapped__)

    @compiled.kernel()
    def twice(x):
        return 2 * x

    assert twice(21) == 42
