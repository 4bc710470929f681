"""The servers behind HTTPS with certificates on both sides, and the ends of connections to them."""

import http.client
import json
import logging
import ssl
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from cheroot.ssl.builtin import BuiltinSSLAdapter
from cheroot.wsgi import Server as WebServer
from cryptography import x509
from cryptography.x509.oid import NameOID

from sparsefed.core.errors import RunError, SparseFedError
from sparsefed.secagg.errors import Malformed, Rejected
from sparsefed.secagg.service.certificates import Credentials
from sparsefed.secagg.service.helper import Helper, Server
from sparsefed.secagg.service.leader import REASONS, Leader
from sparsefed.secagg.service.rounds import Late, Round, RoundAborted, Submission, pack, unpack

__all__ = ["Remote", "RemoteHelper", "RemoteLeader", "web_server"]

Handler = Callable[[str, bytes], bytes]
"""Takes the name in the caller's certificate and what it sends; gives the answer."""
KINDS = {**REASONS, "Late": Late, "RoundAborted": RoundAborted}
LARGEST = 1 << 30
"""Bytes of a request: a report of a hundred million parameters."""
_log = logging.getLogger("sparsefed.secagg")


def web_server(server: Leader | Helper, address: tuple[str, int], mine: Credentials) -> WebServer:
    """A server that listens on `address` once it is started; TLS 1.3, and no caller without a certificate."""
    web = WebServer(address, _application(_routes(server)), numthreads=8)
    web.max_request_body_size = LARGEST
    adapter = BuiltinSSLAdapter(str(mine.certificate), str(mine.key), str(mine.authority))
    adapter.context.minimum_version = ssl.TLSVersion.TLSv1_3
    adapter.context.load_verify_locations(str(mine.authority))
    adapter.context.verify_mode = ssl.CERT_REQUIRED
    web.ssl_adapter = adapter
    return web


def _routes(server: Leader | Helper) -> dict[str, Handler]:
    routes: dict[str, Handler] = {"/round": lambda name, body: _announcement(server)}
    if isinstance(server, Helper):
        private = {
            "/open": lambda header, blobs: server.open_round(Round(**header), blobs[0]),
            "/check": lambda header, blobs: server.check(Submission.unpacked(blobs[0]), blobs[1]),
            "/release": lambda header, blobs: server.release(**header),
            "/abort": lambda header, blobs: server.abort(**header),
        }
        return {**routes, **{path: _only("leader", handler) for path, handler in private.items()}}
    private = {
        "/begin": lambda header, blobs: server.begin(Round(**header)),
        "/end": lambda header, blobs: server.end(**header),
        "/result": lambda header, blobs: _result(server.result(**header)),
    }
    mine = {path: _only("operator", handler) for path, handler in private.items()}
    return {**routes, **mine, "/report": lambda name, body: _report(server, name, body)}


def _only(owner: str, handler: Callable[[dict[str, Any], list[bytes]], bytes | None]) -> Handler:
    def checked(name: str, body: bytes) -> bytes:
        if name != owner:
            raise PermissionError
        return handler(*unpack(body)) or b""

    return checked


def _announcement(server: Server) -> bytes:
    return pack(server.announced()._asdict(), server.sealing_key)


def _report(leader: Leader, name: str, body: bytes) -> bytes:
    submission = Submission.unpacked(body)
    if submission.device != name:
        raise PermissionError
    return leader.report(submission).encode()


def _result(found: dict[str, Any]) -> bytes:
    total = found.pop("sum")
    return pack(found, total.astype("<f8").tobytes())


def _application(routes: dict[str, Handler]) -> Callable[..., Iterable[bytes]]:
    def application(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        status, answer = _answered(routes, environ)
        start(status, [("Content-Length", str(len(answer))), ("Content-Type", "application/octet-stream")])
        return [answer]

    return application


def _answered(routes: dict[str, Handler], environ: dict[str, Any]) -> tuple[str, bytes]:
    handler, name = routes.get(environ["PATH_INFO"]), environ.get("SSL_CLIENT_S_DN_CN", "")
    if handler is None:
        return "404 Not Found", b""
    try:
        return "200 OK", handler(name, environ["wsgi.input"].read())
    except Rejected as reason:
        kind = type(reason).__name__
        _log.info("%s: %s", environ["PATH_INFO"], kind)
        return "422 Unprocessable Content", json.dumps([kind, str(reason)]).encode()
    except PermissionError:
        return "403 Forbidden", b""
    except (SparseFedError, TypeError, KeyError, IndexError) as problem:
        _log.warning("%s: %s", environ["PATH_INFO"], type(problem).__name__)
        return "400 Bad Request", str(problem).encode() if isinstance(problem, SparseFedError) else b""
    except OSError as problem:
        _log.warning("%s: %s", environ["PATH_INFO"], type(problem).__name__)
        return "503 Service Unavailable", b""


class Remote:
    """A server at the end of a connection, which proves by its certificate to be `role`."""

    def __init__(self, address: str, role: str, mine: Credentials, timeout: float = 60.0) -> None:
        parts = urlsplit(address)
        if parts.scheme != "https" or not parts.hostname:
            raise RunError(f"expected an address such as https://localhost:8443, found {address}")
        self.host, self.port, self.role, self.timeout = parts.hostname, parts.port or 443, role, timeout
        self.context = ssl.create_default_context(cafile=str(mine.authority))
        self.context.minimum_version = ssl.TLSVersion.TLSv1_3
        self.context.load_cert_chain(str(mine.certificate), str(mine.key))

    def ask(self, path: str, body: bytes = b"") -> bytes:
        """The answer to a request; raises what the server has raised, `ConnectionError` without a server."""
        connection = http.client.HTTPSConnection(
            self.host, self.port, timeout=self.timeout, context=self.context
        )
        try:
            connection.connect()
            self._check_role(connection.sock)
            connection.request("POST", path, body)
            response = connection.getresponse()
            status, answer = response.status, response.read()
        except (OSError, http.client.HTTPException) as problem:
            raise ConnectionError(f"{self.role} at {self.host}:{self.port}: {problem}") from None
        finally:
            connection.close()
        return self._read(status, answer)

    def _check_role(self, sock: ssl.SSLSocket) -> None:
        certificate = x509.load_der_x509_certificate(sock.getpeercert(binary_form=True) or b"")
        names = [name.value for name in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
        if names != [self.role]:
            raise ConnectionError(f"expected the certificate of the {self.role}, found one of {names}")

    def _read(self, status: int, answer: bytes) -> bytes:
        if status == 200:
            return answer
        if status == 422:
            kind, message = json.loads(answer)
            raise KINDS.get(kind, Malformed)(message)
        if status in {400, 403, 404, 413}:
            raise RunError(
                f"{self.role}: refused with status {status} {answer.decode(errors='replace')}".strip()
            )
        raise ConnectionError(f"{self.role} at {self.host}:{self.port}: status {status}")

    def announced(self) -> Round:
        """The newest round."""
        return self._announcement()[0]

    @property
    def sealing_key(self) -> bytes:
        """What to seal a share for this server with."""
        return self._announcement()[1]

    def _announcement(self) -> tuple[Round, bytes]:
        header, blobs = unpack(self.ask("/round"))
        return Round(**header), blobs[0]


class RemoteHelper(Remote):
    """The helper, as the leader sees it."""

    def __init__(self, address: str, mine: Credentials) -> None:
        super().__init__(address, "helper", mine)

    def open_round(self, round: Round, key: bytes) -> None:
        self.ask("/open", pack(round._asdict(), key))

    def check(self, submission: Submission, message: bytes) -> bytes:
        bare = submission._replace(sealed=(b"", submission.sealed[1]))
        return self.ask("/check", pack({}, bare.packed(), message))

    def release(self, number: int, accepted: str, count: int) -> bytes:
        return self.ask("/release", pack({"number": number, "accepted": accepted, "count": count}))

    def abort(self, number: int) -> None:
        self.ask("/abort", pack({"number": number}))


class RemoteLeader(Remote):
    """The leader, as devices and the operator see it."""

    def __init__(self, address: str, mine: Credentials) -> None:
        super().__init__(address, "leader", mine)

    def report(self, submission: Submission) -> str:
        return self.ask("/report", submission.packed()).decode()

    def begin(self, round: Round) -> None:
        self.ask("/begin", pack(round._asdict()))

    def end(self, number: int) -> None:
        self.ask("/end", pack({"number": number}))

    def result(self, number: int) -> dict[str, Any]:
        header, blobs = unpack(self.ask("/result", pack({"number": number})))
        return {**header, "sum": np.frombuffer(blobs[0], "<f8")}
