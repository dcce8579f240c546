"""Documents of clients on loopback: an https server whose certificate only the hub under test trusts.

`SSL_CERT_FILE` and `CLIENT_DOCUMENT_HOSTS` in the environment of a hub let it fetch from here; see `environment`.
"""

import contextlib
import datetime
import http.server
import ssl
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Answer:
    """What a path answers. gate: waited for before the answer is sent, for documents that are slow."""

    body: bytes
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=lambda: JSON)
    gate: threading.Event | None = None


class Documents:
    """The server's content by path, which tests write, and how often each path was asked for."""

    def __init__(self, origin: str, authority: Path) -> None:
        self.origin = origin
        self.environment = {
            "SSL_CERT_FILE": str(authority),
            "CLIENT_DOCUMENT_HOSTS": origin.removeprefix("https://"),
        }
        """What a hub needs in its environment to fetch from here."""
        self.asked: list[str] = []
        self._answers: dict[str, Answer] = {}

    def serve(self, path: str, answer: Answer) -> str:
        """Answer at this path from now on; the URL."""
        self._answers[path] = answer
        return f"{self.origin}{path}"

    def json(self, path: str, content: Any, **headers: str) -> str:
        """Serve JSON; headers with `_` for `-`. The URL."""
        spelled = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.serve(path, Answer(orjson.dumps(content), headers={**JSON, **spelled}))

    def client(self, path: str, *, cache_control: str = "max-age=3600", **fields: Any) -> str:
        """Serve a client's metadata document; the client id. A field that is None is left out."""
        url = f"{self.origin}{path}"
        usual = {"client_id": url, "client_name": "Test Host", "redirect_uris": ["http://127.0.0.1/callback"]}
        content = {name: value for name, value in {**usual, **fields}.items() if value is not None}
        return self.json(path, content, Cache_Control=cache_control)

    def count(self, path: str) -> int:
        """How often this path was asked for."""
        return self.asked.count(path)

    def answer(self, path: str) -> Answer:
        self.asked.append(path)
        return self._answers.get(path, Answer(b"{}", status=404))


@contextlib.contextmanager
def serve_documents() -> Iterator[Documents]:
    """A server with a throw-away authority."""
    with tempfile.TemporaryDirectory(prefix="mcphub-documents-") as folder:
        certificate, key = _authority(Path(folder))
        with _server(certificate, key) as served:
            yield served


@contextlib.contextmanager
def _server(certificate: Path, key: Path) -> Iterator[Documents]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    server.daemon_threads = True
    served = Documents(f"https://localhost:{server.server_address[1]}", certificate)
    server.RequestHandlerClass = _handler(served.answer)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _handler(answer_to: Callable[[str], Answer]) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = answer_to(self.path)
            if answer.gate is not None:
                answer.gate.wait(30)
            with contextlib.suppress(OSError):  # the hub may have hung up, as it does on what is slow or too long
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)

        def log_message(self, format: str, *args: Any) -> None:
            return None

    return Handler


def _authority(folder: Path) -> tuple[Path, Path]:
    """A certificate for localhost that is its own authority, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate_file, key_file = folder / "authority.pem", folder / "key.pem"
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    key_file.write_bytes(key.private_bytes(encoding, form, serialization.NoEncryption()))
    return certificate_file, key_file
