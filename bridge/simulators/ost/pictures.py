"""A small grey JPEG of a starry sky, made here: each 8 x 8 block has one brightness (only DC coefficients)."""

import random
import struct

BLOCKS = 12  # 96 x 96 pixels
QUANTUM = 8  # one step of a DC coefficient is then one step of brightness


def jpeg(seed: int) -> bytes:
    """A picture that differs with the seed."""
    return b"".join(
        [
            b"\xff\xd8",
            _segment(0xE0, b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0"),
            _segment(0xDB, b"\0" + bytes([QUANTUM] * 64)),
            _segment(0xC0, struct.pack(">BHHB", 8, 8 * BLOCKS, 8 * BLOCKS, 1) + b"\x01\x11\0"),
            # DC: sizes 0 to 11, each with a code of four bits; AC: nothing but end of block, as one bit.
            _segment(0xC4, b"\0" + bytes([0, 0, 0, 12] + [0] * 12) + bytes(range(12))),
            _segment(0xC4, b"\x10" + bytes([1] + [0] * 15) + b"\0"),
            _segment(0xDA, b"\x01\x01\0\0\x3f\0"),
            _scan(_sky(seed)),
            b"\xff\xd9",
        ]
    )


def _segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def _sky(seed: int) -> list[int]:
    """Brightness of each block: a dark sky with a few stars."""
    chance = random.Random(seed)
    sky = [chance.randint(15, 30) for _ in range(BLOCKS * BLOCKS)]
    for _ in range(12):
        sky[chance.randrange(len(sky))] = chance.randint(120, 250)
    return sky


def _scan(sky: list[int]) -> bytes:
    bits, before = [], 0
    for brightness in sky:
        value = brightness - 128
        difference, before = value - before, value
        size = abs(difference).bit_length()
        coded = difference if difference > 0 else difference + (1 << size) - 1
        bits.append(f"{size:04b}" + (f"{coded:0{size}b}" if size else "") + "0")
    line = "".join(bits)
    line += "1" * (-len(line) % 8)
    data = int(line, 2).to_bytes(len(line) // 8, "big")
    return data.replace(b"\xff", b"\xff\0")
