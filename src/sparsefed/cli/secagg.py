"""The commands of secure aggregation: the two servers, certificates to try them, and a demonstration."""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from sparsefed.cli.parts import AsJson, say, say_json, whole
from sparsefed.core.errors import SpecError

if TYPE_CHECKING:
    from sparsefed.secagg.service.certificates import Credentials
    from sparsefed.secagg.service.helper import Helper
    from sparsefed.secagg.service.leader import Leader

__all__ = ["certificates", "demo", "helper", "leader"]

Kills = Annotated[int, whole("--kills", least=0)]
Rounds = Annotated[int, whole("--rounds", least=1)]


def leader(*, state: Path, listen: str, helper: str, certificate: Path, key: Path, authority: Path) -> None:
    """Run the leader: devices report to it, and it learns the sum of what they have sent.

    Example: `sparsefed secagg leader --state leader --listen 0.0.0.0:8443 --helper https://other.example:8443
    --certificate leader.crt --key leader.key --authority authority.crt`

    Parameters
    ----------
    state
        The folder that holds the rounds; a server that is started again resumes from it.
    listen
        Where to listen, such as 127.0.0.1:8443.
    helper
        Where the helper is, such as https://localhost:8444.
    certificate
        The server's certificate, in PEM; its common name is `leader`.
    key
        The private key of the certificate.
    authority
        The certificate of who signs everybody's certificates.

    """
    _check_packages()
    from sparsefed.secagg.service.certificates import Credentials
    from sparsefed.secagg.service.leader import Leader
    from sparsefed.secagg.service.web import RemoteHelper

    mine = Credentials(certificate, key, authority)
    _serve(Leader(state, RemoteHelper(helper, mine)), listen, mine)


def helper(*, state: Path, listen: str, certificate: Path, key: Path, authority: Path) -> None:
    """Run the helper: it checks reports with the leader, and nobody should run both.

    Example: `sparsefed secagg helper --state helper --listen 0.0.0.0:8443 --certificate helper.crt
    --key helper.key --authority authority.crt`

    Parameters
    ----------
    state
        The folder that holds the rounds; a server that is started again resumes from it.
    listen
        Where to listen, such as 127.0.0.1:8444.
    certificate
        The server's certificate, in PEM; its common name is `helper`.
    key
        The private key of the certificate.
    authority
        The certificate of who signs everybody's certificates.

    """
    _check_packages()
    from sparsefed.secagg.service.certificates import Credentials
    from sparsefed.secagg.service.helper import Helper

    _serve(Helper(state), listen, Credentials(certificate, key, authority))


def certificates(folder: Path, devices: list[str]) -> None:
    """Make certificates to try the servers with: an authority, both servers, the operator and devices.

    Example: `sparsefed secagg certificates keys ann bob`

    Parameters
    ----------
    folder
        Where to put them; a party's are NAME.crt and NAME.key.
    devices
        The devices' names.

    """
    _check_packages()
    from sparsefed.secagg.service.certificates import make_certificates

    make_certificates(folder, ["leader", "helper", "operator", *devices])
    say(f"certificates are in {folder}")


def demo(
    *, state: Path = Path("runs/secagg-demo"), rounds: Rounds = 5, kills: Kills = 0, json_: AsJson = False
) -> None:
    """Watch two servers train on digits with 20 devices, 3 of them malicious, and see who is rejected.

    Example: `sparsefed secagg demo --kills 3`

    Parameters
    ----------
    state
        The folder that holds the servers' state; a new one inside it for every demonstration.
    rounds
        How many rounds to train.
    kills
        How often to kill a server at a random moment and start it again.
    json_
        Print the rounds as JSON.

    """
    _check_packages()
    from tempfile import mkdtemp

    from sparsefed.report.secagg_demo import demo_rounds

    state.mkdir(parents=True, exist_ok=True)
    rows = []
    for row in demo_rounds(Path(mkdtemp(dir=state)), rounds, kills):
        rows.append(row._asdict())
        if not json_:
            tried = "; ".join(f"{what} ({why})" for what, why in row.rejected.items())
            same = "equals" if row.equal else "DIFFERS FROM"
            say(
                f"round {row.round}: {row.accepted} accepted, the model {same} the run without the rest, "
                f"accuracy {row.test_accuracy:.0f} %\n  rejected: {tried}"
            )
    if json_:
        say_json(rows)
    elif kills:
        say(f"servers killed and started again: {rows[-1]['kills']}")


def _check_packages() -> None:
    for package in ("cheroot", "cryptography"):
        if find_spec(package) is None:
            raise SpecError(f"expected the package {package}, found none: pip install 'sparsefed[secagg]'")


def _serve(server: "Leader | Helper", listen: str, mine: "Credentials") -> None:
    from sparsefed.secagg.service.web import web_server

    host, _, port = listen.rpartition(":")
    if not (host and port.isdecimal() and int(port) < 1 << 16):
        raise SpecError(f"--listen: expected an address such as 127.0.0.1:8443, found {listen}")
    for path in mine:
        if not path.is_file():
            raise SpecError(f"{path}: expected a certificate or a key in PEM, found no file")
    try:
        web = web_server(server, (host, int(port)), mine)
        web.prepare()
    except OSError as problem:  # also whatever is wrong with a certificate
        raise SpecError(f"--listen {listen}: expected to be able to listen, found {problem}") from None
    say(f"listening on https://{listen}")
    web.serve()
