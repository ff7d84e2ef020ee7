"""What the doctor is shown: configurations, certificates with any dates, and peers of all kinds."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from bridge.cli.doctor.examination import Examination
from bridge.cli.doctor.findings import Finding, Verdict
from bridge.cli.simulate import INSTRUMENTS
from bridge.settings import load
from bridge.simulators.mqtt_broker import Broker
from bridge.simulators.server import serve
from tests.certificates import NEW_KEY, OPENSSL, Pair

HOST = "127.0.0.1"
TROUBLE = {Verdict.WARNING, Verdict.FAULT}
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def text(
    mqtt: int | str,
    devices: Mapping[str, str] | None = None,
    *,
    bridge: str = "",
    broker: str = "",
    device: str = "",
) -> str:
    """A configuration; `mqtt` is a port or the broker's whole table, `devices` urls by driver."""
    where = f'host = "{HOST}"\nport = {mqtt}' if isinstance(mqtt, int) else mqtt
    tables = "".join(
        f'\n[devices.{driver}]\ndriver = "{driver}"\nurl = "{url}"\nopen_timeout = 2.5\n{device}\n'
        for driver, url in (devices or {}).items()
    )
    return f'[bridge]\nid = "gw"\n{bridge}\n[mqtt]\ntimeout = 2.5\n{where}\n{broker}\n{tables}'


async def diagnosed(folder: Path, configuration: str, *, wait: float = 4.0) -> list[Finding]:
    """All findings, in order; what was told one by one is the same."""
    file = folder / "lab2mqtt.toml"
    file.write_text(configuration)
    file.chmod(0o600)
    told: list[Finding] = []
    found = await Examination(load(file, environ={}), file, None, wait, told.append).run()
    assert told == found
    assert len({(finding.id, finding.subject, finding.says) for finding in found}) == len(found)
    return found


def troubles(found: list[Finding]) -> dict[str, str]:
    """What is not as it should be: the sentences by id."""
    return {finding.id: finding.says for finding in found if finding.verdict in TROUBLE}


@asynccontextmanager
async def instruments(*names: str) -> AsyncIterator[dict[str, str]]:
    """Simulators of these; their urls by driver."""
    async with AsyncExitStack() as stack:
        urls = {}
        for name in names or INSTRUMENTS:
            instrument = INSTRUMENTS[name]
            server = await stack.enter_async_context(serve(instrument.simulator()))
            urls[name] = server.url + instrument.path
        yield urls


@asynccontextmanager
async def peer(talk: Talk, port: int = 0) -> AsyncIterator[int]:
    """Anything that listens; its port."""

    async def guarded(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await talk(reader, writer)
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(guarded, HOST, port)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def saying(answer: bytes) -> Talk:
    """Reads once, gives this answer, and hangs up."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(answer)
        await writer.drain()

    return talk


async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while await reader.read(4096):
        pass


@asynccontextmanager
async def embedded() -> AsyncIterator[int]:
    async with Broker() as broker:
        yield broker.port


# --- certificates with any dates -------------------------------------------------------------------------


def dated(authority: Pair, folder: Path, name: str, begins: str, ends: str) -> Pair:
    """A certificate for the DNS name and 127.0.0.1, valid between two times (YYYYMMDDHHMMSSZ)."""
    pair, request = Pair(folder / f"{name}.pem", folder / f"{name}.key"), folder / f"{name}.csr"
    (folder / "index.txt").write_text("")
    (folder / "ca.cnf").write_text(
        "[ca]\ndefault_ca=us\n[us]\n"
        f"database={folder}/index.txt\nnew_certs_dir={folder}\nrand_serial=yes\ndefault_md=sha256\npolicy=any\n"
        f"x509_extensions=names\n[any]\ncommonName=supplied\n[names]\nsubjectAltName=DNS:{name},IP:{HOST}\n"
        "authorityKeyIdentifier=keyid\nkeyUsage=digitalSignature\n"
    )
    _openssl("req", *NEW_KEY, "-subj", f"/CN={name}", "-keyout", str(pair.key), "-out", str(request))
    signer = (
        "-cert",
        str(authority.certificate),
        "-keyfile",
        str(authority.key),
        "-config",
        str(folder / "ca.cnf"),
    )
    dates = ("-startdate", begins, "-enddate", ends)
    _openssl("ca", "-batch", "-notext", *signer, *dates, "-in", str(request), "-out", str(pair.certificate))
    return pair


def _openssl(*arguments: str) -> None:
    assert OPENSSL is not None
    subprocess.run([OPENSSL, *arguments], check=True, capture_output=True)
