"""The demonstration with real processes, and the commands of the servers."""

from pathlib import Path

import pytest

from sparsefed.cli import main
from sparsefed.report.secagg_demo import demo_rounds
from sparsefed.secagg.service.certificates import Credentials


def test_two_processes_train_as_the_plain_run_does_though_devices_cheat_and_a_server_is_killed(
    tmp_path: Path,
):
    (row,) = demo_rounds(tmp_path, rounds=1, kills=1)
    assert row.accepted == 17
    assert list(row.rejected.values()) == ["InvalidProof", "InvalidProof", "Malformed"]
    assert row.equal
    assert row.kills == 1


def test_certificates_are_made_for_both_servers_the_operator_and_the_devices(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(SystemExit) as ended:
        main(["secagg", "certificates", str(tmp_path / "keys"), "ann"])
    assert ended.value.code == 0
    for name in ("leader", "helper", "operator", "ann"):
        credentials = Credentials.of(tmp_path / "keys", name)
        assert all(path.exists() for path in credentials)
        assert credentials.key.stat().st_mode & 0o77 == 0
    assert "certificates are in" in capsys.readouterr().out


def test_an_address_that_is_none_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    words = ["--state", str(tmp_path / "s"), "--certificate", "c", "--key", "k", "--authority", "a"]
    with pytest.raises(SystemExit) as ended:
        main(["secagg", "helper", "--listen", "8443", *words])
    assert ended.value.code == 2
    assert "expected an address such as 127.0.0.1:8443, found 8443" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        main(["secagg", "helper", "--listen", "127.0.0.1:0", *words])
    assert ended.value.code == 2
    assert "c: expected a certificate or a key in PEM, found no file" in capsys.readouterr().err
