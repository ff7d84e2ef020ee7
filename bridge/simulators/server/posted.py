"""The body of an HTTP request, which a WebSocket library does not read."""

import asyncio

LARGEST_HEAD = 65536  # bytes
LARGEST_BODY = 64 * 2**20


async def posted(data: bytes, reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Read a POST request that begins with `data`: its head as that of a GET without a body, and its body.

    What is no proper request (no end of the head, a length that is no number) is left to the library to refuse.
    """
    while b"\r\n\r\n" not in data:
        more = await reader.read(65536)
        if not more or len(data) > LARGEST_HEAD:
            return data, b""
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    first, *headers = head.split(b"\r\n")
    length = b"0"
    for header in list(headers):
        name, _, value = header.partition(b":")
        if name.strip().lower() == b"content-length":
            headers.remove(header)
            length = value.strip()
    if not length.isdigit() or int(length) > LARGEST_BODY:
        return data, b""
    while len(body) < int(length):
        if not (more := await reader.read(65536)):
            break
        body += more
    return b"\r\n".join([first.replace(b"POST", b"GET", 1), *headers]) + b"\r\n\r\n", body[: int(length)]
