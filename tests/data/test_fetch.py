"""Downloads from a server of the test's own, and without one."""

import gc
import hashlib
import http.server
import importlib
import threading
from functools import partial
from pathlib import Path

import pytest

from sparsefed.core.errors import DataError
from sparsefed.data import available, fetch

module = importlib.import_module("sparsefed.data.fetch")  # the package offers the function by that name

CONTENT = b"LEAR:\nNothing will come of nothing.\n"


pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")


@pytest.fixture(autouse=True)
def sockets_end_with_their_test():
    """A refused download leaves pooch's connection to the garbage collector."""
    yield
    gc.collect()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path):
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "input.txt").write_bytes(CONTENT)
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(Quiet, directory=tmp_path / "served")
    ) as http_server:
        thread = threading.Thread(target=http_server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{http_server.server_port}"
        http_server.shutdown()
        thread.join()


def offer(monkeypatch: pytest.MonkeyPatch, url: str, content: bytes = CONTENT) -> None:
    files = {"shakespeare": {url: f"sha256:{hashlib.sha256(content).hexdigest()}"}}
    monkeypatch.setattr(module, "FILES", files)


def test_a_file_is_fetched_once_and_lands_where_its_reader_looks(server: str, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("SPARSEFED_DATA", raising=False)
    offer(monkeypatch, f"{server}/input.txt")
    folder = fetch("shakespeare")
    assert (folder / "input.txt").read_bytes() == CONTENT
    (tmp_path / "served" / "input.txt").unlink()
    assert fetch("shakespeare") == folder
    status = {source.name: source.status for source in available()}
    assert status["shakespeare"] == str(folder)
    assert status["cifar10"] == "sparsefed data fetch cifar10" or "cifar10" in status["cifar10"]


def test_a_wrong_checksum_is_refused_and_nothing_kept(server: str, tmp_path: Path, monkeypatch):
    offer(monkeypatch, f"{server}/input.txt", b"another")
    with pytest.raises(DataError, match=r"input.txt: the file has another checksum than sha256:"):
        fetch("shakespeare", tmp_path / "here")
    assert not list((tmp_path / "here").iterdir())


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/input.txt", "{server}/absent/input.txt"])
def test_offline_one_line_says_which_file_to_put_where(server: str, url: str, tmp_path: Path, monkeypatch):
    offer(monkeypatch, url.format(server=server))
    with pytest.raises(DataError) as caught:
        fetch("shakespeare", tmp_path / "here")
    message = str(caught.value)
    assert message.startswith("cannot download http://127.0.0.1:")
    assert message.endswith(f"put input.txt in {tmp_path / 'here'} by hand")
    assert "\n" not in message


def test_a_folder_that_cannot_be_written_is_named(server: str, tmp_path: Path, monkeypatch):
    offer(monkeypatch, f"{server}/input.txt")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match=r"cannot write .*file/input.txt"):
        fetch("shakespeare", tmp_path / "file")


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("digits", "built in, nothing to fetch"),
        ("femnist", "prepare it with LEAF's own scripts"),
        ("imagenet", "unknown data set `imagenet`; choose one of mnist, fashion-mnist"),
    ],
)
def test_what_cannot_be_fetched_says_why(name: str, complaint: str):
    with pytest.raises(DataError, match=complaint):
        fetch(name)


def test_every_reader_is_listed():
    names = [source.name for source in available()]
    assert names == [
        "digits",
        "mnist",
        "fashion-mnist",
        "qmnist",
        "cifar10",
        "cifar100",
        "femnist",
        "shakespeare",
        "reddit",
    ]
    assert available()[0].status == "built in"


def test_the_published_checksums_are_those_of_the_real_files(shared_data: Path):
    real = {"qmnist": "qmnist-train-labels-idx2-int.gz", "shakespeare": "input.txt"}
    for name, file in real.items():
        (checksum,) = (value for url, value in module.FILES[name].items() if url.endswith(f"/{file}"))
        kind, _, expected = checksum.partition(":")
        assert hashlib.new(kind, (shared_data / name / file).read_bytes()).hexdigest() == expected
