from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bridge.tls import client_context, parse_fingerprint
from tests.certificates import Pair, encrypted, self_signed, signed_by


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="module")
def authority(folder: Path) -> Pair:
    return self_signed(folder, "authority")


@pytest.fixture(scope="module")
def server(folder: Path, authority: Pair) -> Pair:
    return signed_by(authority, folder, "instrument.lab")


@pytest.fixture(scope="module")
def lonely(folder: Path) -> Pair:
    return self_signed(folder, "lonely.lab")


class Listener:
    """A TLS server that greets, and counts the bytes that clients dared to send."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.received = bytearray()
        self.ended = asyncio.Event()

    async def talk(self, context: ssl.SSLContext, name: str = "127.0.0.1") -> bytes:
        """What the listener says to somebody who connects like that."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, ssl=context, server_hostname=name)
        try:
            writer.write(b"secret\n")
            return await reader.readline()
        finally:
            writer.close()


@asynccontextmanager
async def listening(context: ssl.SSLContext) -> AsyncIterator[Listener]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(b"hello\n")
            listener.received += await reader.read()
        except OSError:
            pass
        finally:
            writer.close()
            listener.ended.set()

    async with asyncio.timeout(10):
        running = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
        listener = Listener(running.sockets[0].getsockname()[1])
        async with running:
            yield listener


@pytest.mark.asyncio
async def test_a_ca_proves_the_peer(authority: Pair, server: Pair) -> None:
    async with listening(server.server_context()) as peer:
        context = client_context(ca=authority.certificate)
        assert await peer.talk(context) == b"hello\n"
        assert await peer.talk(context, "instrument.lab") == b"hello\n"


@pytest.mark.asyncio
async def test_the_peers_own_certificate_may_be_the_ca(server: Pair, lonely: Pair) -> None:
    async with listening(server.server_context()) as peer:  # the issuer is not in the file
        assert await peer.talk(client_context(ca=server.certificate)) == b"hello\n"
    async with listening(lonely.server_context()) as peer:
        assert await peer.talk(client_context(ca=lonely.certificate), "lonely.lab") == b"hello\n"


@pytest.mark.asyncio
async def test_a_ca_refuses_strangers_and_other_names(authority: Pair, server: Pair, lonely: Pair) -> None:
    context = client_context(ca=authority.certificate)
    async with listening(server.server_context()) as peer:
        with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
            await peer.talk(context, "other.lab")
    async with listening(lonely.server_context()) as peer:
        with pytest.raises(ssl.SSLCertVerificationError, match=r"self.signed"):
            await peer.talk(context, "lonely.lab")
        with pytest.raises(ssl.SSLCertVerificationError, match=r"self.signed"):
            await peer.talk(client_context(), "lonely.lab")  # the system's authorities


@pytest.mark.asyncio
async def test_a_fingerprint_needs_neither_name_nor_issuer(lonely: Pair) -> None:
    async with listening(lonely.server_context()) as peer:
        for text in (lonely.fingerprint, lonely.fingerprint.replace(":", "").lower()):
            assert await peer.talk(client_context(fingerprint=text)) == b"hello\n"


@pytest.mark.asyncio
async def test_a_wrong_fingerprint_gets_nothing(server: Pair, lonely: Pair) -> None:
    async with listening(lonely.server_context()) as peer:
        with pytest.raises(ssl.SSLCertVerificationError, match=lonely.fingerprint):
            await peer.talk(client_context(fingerprint=server.fingerprint))
        await peer.talk(client_context(fingerprint=lonely.fingerprint))
        await peer.ended.wait()
        assert peer.received == b"secret\n"  # from the one that knew it


@pytest.mark.parametrize("right", [True, False])
def test_the_fingerprint_holds_for_blocking_sockets_too(server: Pair, lonely: Pair, right: bool) -> None:
    context = client_context(fingerprint=(lonely if right else server).fingerprint)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with lonely.server_context().wrap_socket(connection, server_side=True) as secured:
                secured.settimeout(5)
                secured.recv(1)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            with socket.create_connection(listener.getsockname(), timeout=5) as plain:
                if right:
                    context.wrap_socket(plain).close()
                else:
                    with pytest.raises(ssl.SSLCertVerificationError):
                        context.wrap_socket(plain)
        finally:
            thread.join(5)


@pytest.mark.asyncio
async def test_only_insecure_believes_anybody(lonely: Pair) -> None:
    async with listening(lonely.server_context()) as peer:
        assert await peer.talk(client_context(insecure=True)) == b"hello\n"


@pytest.mark.asyncio
async def test_we_can_prove_ourselves(authority: Pair, server: Pair, folder: Path) -> None:
    us = signed_by(authority, folder, "bridge.lab")
    joined = folder / "joined.pem"
    joined.write_bytes(us.key.read_bytes() + us.certificate.read_bytes())
    demanding = server.server_context(client_ca=authority.certificate)
    demanding.maximum_version = ssl.TLSVersion.TLSv1_2  # 1.3 refuses only after the client's handshake is done
    async with listening(demanding) as peer:
        ca = authority.certificate
        assert await peer.talk(client_context(ca=ca, certificate=us.certificate, key=us.key)) == b"hello\n"
        assert await peer.talk(client_context(ca=ca, certificate=joined)) == b"hello\n"
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await peer.talk(client_context(ca=ca))


@pytest.mark.asyncio
async def test_old_versions_are_refused(authority: Pair, server: Pair) -> None:
    context = server.server_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    async with listening(context) as peer:
        assert await peer.talk(client_context(ca=authority.certificate)) == b"hello\n"
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await peer.talk(client_context(ca=authority.certificate, minimum_version="1.3"))


def test_wrong_files_are_named(authority: Pair, server: Pair, lonely: Pair, folder: Path) -> None:
    missing, nonsense = folder / "missing.pem", folder / "nonsense.pem"
    nonsense.write_text("nonsense")
    certificate = server.certificate
    with pytest.raises(ValueError, match=r"CA file .*missing.pem: No such file"):
        client_context(ca=missing)
    with pytest.raises(ValueError, match=r"CA file .*nonsense.pem"):
        client_context(ca=nonsense)
    with pytest.raises(ValueError, match=r"CA file .*: Is a directory"):
        client_context(ca=folder)
    with pytest.raises(ValueError, match=r"certificate .*missing.pem: No such file"):
        client_context(certificate=missing)
    with pytest.raises(ValueError, match=r"key .*missing.pem: No such file"):
        client_context(certificate=certificate, key=missing)
    with pytest.raises(ValueError, match=r"certificate .*nonsense.pem"):
        client_context(certificate=nonsense, key=server.key)
    with pytest.raises(ValueError, match=r"instrument.lab.pem with key .*lonely.lab.key"):
        client_context(certificate=certificate, key=lonely.key)
    with pytest.raises(ValueError, match=r"key .*encrypted.key is encrypted"):
        client_context(certificate=certificate, key=encrypted(server, folder))
    with pytest.raises(ValueError, match="without its certificate"):
        client_context(key=server.key)


def test_contradictions_are_refused(folder: Path) -> None:
    pin = "00" * 32
    for options in ({"insecure": True, "fingerprint": pin}, {"ca": folder, "fingerprint": pin}):
        with pytest.raises(ValueError, match="only one of"):
            client_context(**options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"'1\.1' is not one of 1\.2, 1\.3"):
        client_context(minimum_version="1.1")


@pytest.mark.parametrize("text", ["", "00", "00" * 31, "00" * 33, "zz" * 32, "00" * 20])
def test_a_fingerprint_is_a_sha256(text: str) -> None:
    with pytest.raises(ValueError, match="not a SHA-256"):
        client_context(fingerprint=text)


def test_fingerprints_are_read_as_they_are_shown() -> None:
    digest = bytes(range(32))
    assert parse_fingerprint(digest.hex(":").upper()) == parse_fingerprint(digest.hex()) == digest
