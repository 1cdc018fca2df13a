"""Changes of bytes: blind ones, and those that know the parts of a format.

Every change is drawn from the generator that it is given, so a case is known by its number.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

import numpy as np

__all__ = ["blind", "jpeg", "png", "text", "tiff", "webp"]

#: Whole numbers at which readers err: ends of ranges, signs, sizes that no memory holds.
NUMBERS = (0, 1, 2, 3, 4, 7, 8, 9, 12, 15, 16, 17, 31, 32, 63, 64, 127, 128, 255, 256, 1000, 4095,
           4096, 32767, 32768, 65535, 65536, 10_000, 1 << 24, (1 << 31) - 1, 1 << 31,
           (1 << 32) - 1)  # fmt: skip
_WORDS = (
    "", " ", "0", "-1", "1e999", "nan", "inf", "-inf", "1,5", "0x10", "9" * 30, "=1+1", "@cmd",
    "../../etc/passwd", "\x00", "\ufeff", "\u202e", "\x1b[31m", "\ud7ff", "true", "None", "null",
    "[]", "{}", '"', "'", ",", ";", "\t", "\r\n", "\n\n", "#", "=", "\\", "%s", "{0}", "é", "😀",
    "a" * 5000, "[" * 500, "1979-05-27T07:32:00Z", "1_000", "+", "-", ".", "~nobody", "<b>", "]",
)  # fmt: skip
Rng = np.random.Generator


def blind(content: bytes, rng: Rng) -> bytes:
    """Change one to four places of anything."""
    changed = bytearray(content)
    for _ in range(int(rng.integers(1, 5))):
        _BLIND[rng.integers(len(_BLIND))](changed, rng)
    return bytes(changed)


def _place(changed: bytearray, rng: Rng) -> int:
    return int(rng.integers(max(len(changed), 1)))


def _flip(changed: bytearray, rng: Rng) -> None:
    if changed:
        changed[_place(changed, rng)] ^= 1 << int(rng.integers(8))


def _byte(changed: bytearray, rng: Rng) -> None:
    if changed:
        changed[_place(changed, rng)] = int(rng.choice((0, 1, 0x7F, 0x80, 0xFE, 0xFF, 0x20, 0x30)))


def _number(changed: bytearray, rng: Rng) -> None:
    size = int(rng.choice((1, 2, 4, 8)))
    value = NUMBERS[rng.integers(len(NUMBERS))] & ((1 << 8 * size) - 1)
    at = _place(changed, rng)
    changed[at : at + size] = value.to_bytes(size, ("big", "little")[rng.integers(2)])


def _cut(changed: bytearray, rng: Rng) -> None:
    del changed[_place(changed, rng) :]


def _erase(changed: bytearray, rng: Rng) -> None:
    at = _place(changed, rng)
    del changed[at : at + int(rng.integers(1, 40))]


def _zero(changed: bytearray, rng: Rng) -> None:
    at = _place(changed, rng)
    end = min(at + int(rng.integers(1, 200)), len(changed))
    changed[at:end] = bytes(end - at)


def _noise(changed: bytearray, rng: Rng) -> None:
    at = _place(changed, rng)
    changed[at : at + int(rng.integers(0, 8))] = rng.bytes(int(rng.integers(1, 16)))


def _repeat(changed: bytearray, rng: Rng) -> None:
    at, length = _place(changed, rng), int(rng.integers(1, 60))
    changed[at:at] = bytes(changed[at : at + length]) * int(rng.integers(1, 4))


def _move(changed: bytearray, rng: Rng) -> None:
    source, length = _place(changed, rng), int(rng.integers(1, 60))
    piece = bytes(changed[source : source + length])
    at = _place(changed, rng)
    changed[at : at + length] = piece


#: Single bits and bytes lead furthest into a decoder, so they come up most often.
_BLIND: tuple[Callable[[bytearray, Rng], None], ...] = (
    _flip, _flip, _flip, _byte, _byte, _number, _number, _cut, _erase, _zero, _noise, _repeat,
    _move,
)  # fmt: skip


def text(content: bytes, rng: Rng) -> bytes:
    """Put a hostile word in the place of one, swap lines, or change bytes blindly."""
    kind = rng.integers(5)
    if kind == 0:
        return blind(content, rng)
    lines = content.splitlines(keepends=True) or [b""]
    at = int(rng.integers(len(lines)))
    if kind == 1:
        lines.insert(int(rng.integers(len(lines) + 1)), lines[at])
    elif kind == 2:
        del lines[at]
    else:
        for separator in (b",", b"=", b";", b"\t", b" "):
            parts = lines[at].split(separator)
            if len(parts) > 1:
                word = _WORDS[rng.integers(len(_WORDS))].encode("utf-8", "surrogatepass")
                parts[rng.integers(len(parts))] = word
                lines[at] = separator.join(parts)
                break
    changed = b"".join(lines)
    return text(changed, rng) if rng.random() < 0.3 else changed


# --- pictures ------------------------------------------------------------------------------------


def png(content: bytes, rng: Rng) -> bytes:
    """Change a chunk and set its checksum right, so that a decoder gets to see it."""
    chunks = []
    at = 8
    while at + 12 <= len(content):
        (length,) = struct.unpack_from(">I", content, at)
        chunks.append([content[at + 4 : at + 8], content[at + 8 : at + 8 + length]])
        at += 12 + length
    chosen = chunks[rng.integers(len(chunks))]
    kind = rng.integers(4)
    if chosen[0] == b"IDAT" and kind:
        chosen[1] = zlib.compress(blind(zlib.decompress(chosen[1]), rng))
    elif chosen[0] == b"IHDR" and kind:
        header = list(struct.unpack(">IIBBBBB", chosen[1]))
        place = int(rng.integers(7))
        limit = (1 << 32) - 1 if place < 2 else 255
        header[place] = NUMBERS[rng.integers(len(NUMBERS))] & limit
        chosen[1] = struct.pack(">IIBBBBB", *header)
    elif kind == 1:
        chosen[0] = (b"IDAT", b"tRNS", b"PLTE", b"acTL", b"eXIf", b"fdAT", b"IEND")[rng.integers(7)]
    elif kind == 2:
        chunks.insert(int(rng.integers(len(chunks))), list(chosen))
    else:
        chosen[1] = blind(chosen[1], rng)
    parts = [content[:8]]
    for name, body in chunks:
        checksum = zlib.crc32(name + body)
        parts.append(struct.pack(">I", len(body)) + name + body + struct.pack(">I", checksum))
    return b"".join(parts)


def jpeg(content: bytes, rng: Rng) -> bytes:
    """Change a byte or a number within one segment's head: sizes, precision, tables, sampling."""
    starts = []
    at = 2
    while at + 4 <= len(content) and content[at] == 0xFF:
        length = int.from_bytes(content[at + 2 : at + 4], "big")
        starts.append((at, length))
        if content[at + 1] == 0xDA:
            break
        at += 2 + length
    if not starts:
        return blind(content, rng)
    changed = bytearray(content)
    at, length = starts[rng.integers(len(starts))]
    place = at + int(rng.integers(1, 2 + min(length, 24)))
    size = int(rng.choice((1, 1, 2)))
    value = NUMBERS[rng.integers(len(NUMBERS))] & ((1 << 8 * size) - 1)
    changed[place : place + size] = value.to_bytes(size, "big")
    return bytes(changed)


def webp(content: bytes, rng: Rng) -> bytes:
    """Change something behind the head and set the length right."""
    body = blind(content[12:], rng)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def tiff(content: bytes, rng: Rng) -> bytes:
    """Change the tag, type, count or value of an entry of the first directory."""
    order = "<" if content[:2] == b"II" else ">"
    (directory,) = struct.unpack_from(order + "I", content, 4)
    (entries,) = struct.unpack_from(order + "H", content, directory)
    changed = bytearray(content)
    at = directory + 2 + 12 * int(rng.integers(entries))
    place, size = ((0, 2), (2, 2), (4, 4), (8, 2), (8, 4), (8, 4))[rng.integers(6)]
    value = NUMBERS[rng.integers(len(NUMBERS))] & ((1 << 8 * size) - 1)
    struct.pack_into(order + {2: "H", 4: "I"}[size], changed, at + place, value)
    return bytes(changed)
