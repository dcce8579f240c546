"""Certificates are checked, and nothing leads from https down to http."""

import asyncio
import contextlib
import ipaddress
import socket
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from lib import fetch as fetching
from lib.fetch import Blocked, Unreachable, fetch
from tests.lib.fetch.servers import Serve, hello, outbound, redirects


def certificate(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server context with a fresh certificate for 127.0.0.1, and a client context that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "loopback")])
    now = datetime.now(UTC)
    alternative = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    cert = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(alternative, critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = folder / "both.pem"
    pem.write_bytes(
        cert.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pem)
    return server, ssl.create_default_context(cafile=str(pem))


async def test_a_certificate_nobody_vouches_for_is_unreachable(serve: Serve, tmp_path: Path) -> None:
    server, _ = certificate(tmp_path)
    with pytest.raises(Unreachable, match="certificate") as failed:
        await fetch(outbound(f"https://127.0.0.1:{await serve(hello, server)}/"))
    assert not failed.value.sent


async def test_a_server_without_tls_is_unreachable_over_https(serve: Serve) -> None:
    with pytest.raises(Unreachable) as failed:
        await fetch(outbound(f"https://127.0.0.1:{await serve(hello)}/"))
    assert not failed.value.sent


async def test_https_works_and_a_redirect_down_to_http_is_refused(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, client = certificate(tmp_path)
    monkeypatch.setattr("aiohttp.connector._SSL_CONTEXT_VERIFIED", client)
    plain = await serve(hello)
    assert (await fetch(outbound(f"https://127.0.0.1:{await serve(hello, server)}/"))).body == b"hello"
    secure = await serve(redirects(302, f"http://127.0.0.1:{plain}/"), server)
    with pytest.raises(Blocked, match="https to http"):
        await fetch(outbound(f"https://127.0.0.1:{secure}/"))


async def test_an_upstream_that_answers_no_farewell_does_not_outlive_the_pool(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, client = certificate(tmp_path)
    monkeypatch.setattr("aiohttp.connector._SSL_CONTEXT_VERIFIED", client)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        gone = asyncio.create_task(asyncio.to_thread(_answer_and_say_no_farewell, listening, server))
        answer = await fetch(outbound(f"https://127.0.0.1:{listening.getsockname()[1]}/"))
        assert answer.body == b"hello"
        await fetching.close()
        await gone


def _answer_and_say_no_farewell(listening: socket.socket, tls: ssl.SSLContext) -> None:
    """Answer one request, then only wait for the end of the TCP connection; TimeoutError when it does not come."""
    peer = tls.wrap_socket(listening.accept()[0], server_side=True)
    peer.recv(65536)
    peer.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello")
    with socket.socket(fileno=peer.detach()) as raw, contextlib.suppress(ConnectionResetError):
        raw.settimeout(10)
        while raw.recv(65536):
            pass
