"""Takes out of a photo what a phone wrote into it besides the picture: place, time, device, owner, previews, trailing films. Pure.

Keeps what is needed to show it as it was taken: the picture, its colours, its transparency, and which side is up (the one EXIF entry that
is written anew). What is not known is left out. The picture itself is never decoded or encoded again, so nothing of it is lost.

Sources: JPEG: ITU-T T.81 annex B; Exif 2.32 (JEITA CP-3451); PNG: W3C Portable Network Graphics (third edition); WebP: RFC 9649.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

UPRIGHT = 1
"""The EXIF orientation of a picture that is shown as it is stored."""
_ORIENTATION = 0x0112
_EXIF = b"Exif\0\0"

_SOI, _EOI, _SOS, _TEM = 0xD8, 0xD9, 0xDA, 0x01
_RESTARTS = range(0xD0, 0xD8)
_APPS = range(0xE0, 0xF0)
_COMMENT, _RESERVED = 0xFE, range(0xF0, 0xFE)

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_KEPT = frozenset(
    {b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"cICP", b"sBIT", b"bKGD", b"pHYs"}
)
_WEBP_KEPT = frozenset({b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"ICCP"})
_WEBP_FRAME = frozenset({b"VP8 ", b"VP8L", b"ALPH"})
_WEBP_EXIF, _WEBP_XMP = 0x08, 0x04


class Malformed(Exception):
    """The file isn't built as its format says, so nobody can tell what is in it."""


def without_metadata(media_type: str, content: bytes) -> bytes:
    """The same picture without metadata. `media_type` is image/jpeg, image/png or image/webp; raises Malformed."""
    try:
        match media_type:
            case "image/jpeg":
                return _jpeg(content)
            case "image/png":
                return _png(content)
            case _:
                return _webp(content)
    except (struct.error, IndexError) as error:
        raise Malformed("ends in the middle") from error


# JPEG


def _jpeg(content: bytes) -> bytes:
    kept: list[bytes] = []
    turned = UPRIGHT
    picture = False
    for marker, payload in _segments(content):
        if marker == _SOS:
            picture = True
            kept.append(b"\xff\xda" + payload)
        elif marker == 0xE0 and payload.startswith(b"JFIF\0") and len(payload) >= 14:
            kept.append(_segment(marker, payload[:12] + b"\0\0"))  # without its preview
        elif marker == 0xE1 and payload.startswith(_EXIF):
            turned = _orientation(payload[len(_EXIF) :]) or turned
        elif marker == 0xE2 and payload.startswith(b"ICC_PROFILE\0"):
            kept.append(_segment(marker, payload))
        elif marker == 0xEE and payload.startswith(b"Adobe"):
            kept.append(_segment(marker, payload[:12]))
        elif marker not in _APPS and marker not in _RESERVED and marker != _COMMENT:
            kept.append(_segment(marker, payload))
    if not picture:
        raise Malformed("no picture inside")
    exif = b"" if turned == UPRIGHT else _segment(0xE1, _EXIF + _tiff(turned))
    first = 1 if kept and kept[0][1] == 0xE0 else 0  # JFIF wants to be first
    return b"\xff\xd8" + b"".join(kept[:first]) + exif + b"".join(kept[first:]) + b"\xff\xd9"


def _segments(content: bytes) -> Iterator[tuple[int, bytes]]:
    """(marker, payload) up to the end of the picture; a scan's payload is all from its length to the next marker. Raises Malformed."""
    place = 2
    while True:
        if content[place] != 0xFF:
            raise Malformed("no marker where one has to be")
        while content[place] == 0xFF:  # fill bytes
            place += 1
        marker = content[place]
        place += 1
        if marker == _EOI:
            return
        if marker in (0x00, _SOI, _TEM) or marker in _RESTARTS:
            raise Malformed("a marker that can't stand here")
        (length,) = struct.unpack_from(">H", content, place)
        end = place + length
        if length < 2 or end > len(content):
            raise Malformed("a segment ends in the middle")
        if marker == _SOS:
            end = _end_of_scan(content, end)
            yield marker, content[place:end]
        else:
            yield marker, content[place + 2 : end]
        place = end


def _end_of_scan(content: bytes, place: int) -> int:
    """Where the next marker that belongs to no scan begins; raises Malformed when there is none."""
    while True:
        start = place = content.find(b"\xff", place)
        if place < 0:
            raise Malformed("a scan without an end")
        while content[place] == 0xFF:  # fill bytes
            place += 1
        if content[place] != 0x00 and content[place] not in _RESTARTS:
            return start
        place += 1


def _segment(marker: int, payload: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload


# PNG


def _png(content: bytes) -> bytes:
    kept = [_PNG]
    place = len(_PNG)
    turned = UPRIGHT
    picture = False
    while True:
        length, kind = struct.unpack_from(">I4s", content, place)
        end = place + 12 + length
        if end > len(content):
            raise Malformed("a chunk ends in the middle")
        payload = content[place + 8 : place + 8 + length]
        if kind == b"eXIf":
            turned = _orientation(payload) or turned
        elif kind in _PNG_KEPT:
            if kind == b"IDAT" and not picture and turned != UPRIGHT:
                kept.append(_chunk(b"eXIf", _tiff(turned)))
            picture = picture or kind == b"IDAT"
            kept.append(_chunk(kind, payload))
        elif not kind[0] & 0x20:
            raise Malformed("a critical chunk that nobody knows")
        if kind == b"IEND":
            break
        place = end
    if not picture:
        raise Malformed("no picture inside")
    return b"".join(kept)


def _chunk(kind: bytes, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(kind + payload))


# WebP


def _webp(content: bytes) -> bytes:
    size = int.from_bytes(content[4:8], "little") + 8
    if size > len(content) or size < 20:
        raise Malformed("ends in the middle")
    kept: list[tuple[bytes, bytes]] = []
    turned = UPRIGHT
    for kind, payload in _riff(content[12:size]):
        if kind == b"EXIF":
            turned = _orientation(payload.removeprefix(_EXIF)) or turned
        elif kind == b"ANMF":
            frame = b"".join(_riff_chunk(*part) for part in _riff(payload[16:]) if part[0] in _WEBP_FRAME)
            kept.append((kind, payload[:16] + frame))
        elif kind in _WEBP_KEPT:
            kept.append((kind, payload))
    if not any(kind in (b"VP8 ", b"VP8L", b"ANMF") for kind, _ in kept):
        raise Malformed("no picture inside")
    extended = kept[0][0] == b"VP8X" and len(kept[0][1]) == 10
    if any(kind == b"VP8X" for kind, _ in kept) and not extended:
        raise Malformed("its header isn't where it has to be")
    if extended:
        flags = kept[0][1][0] & ~(_WEBP_EXIF | _WEBP_XMP)
        if turned != UPRIGHT:
            kept.append((b"EXIF", _tiff(turned)))
            flags |= _WEBP_EXIF
        kept[0] = (b"VP8X", bytes([flags]) + kept[0][1][1:])
    body = b"WEBP" + b"".join(_riff_chunk(*part) for part in kept)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _riff(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    place = 0
    while place < len(content):
        kind, length = struct.unpack_from("<4sI", content, place)
        end = place + 8 + length
        if end > len(content):
            raise Malformed("a chunk ends in the middle")
        yield kind, content[place + 8 : end]
        place = end + length % 2


def _riff_chunk(kind: bytes, payload: bytes) -> bytes:
    return kind + struct.pack("<I", len(payload)) + payload + b"\0" * (len(payload) % 2)


# the one entry that stays


def _orientation(tiff: bytes) -> int | None:
    """The orientation (2 to 8) an EXIF block states; None when it states none, or can't be read: then it is upright."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None or len(tiff) < 8:
        return None
    (first,) = struct.unpack_from(f"{order}I", tiff, 4)
    if first + 2 > len(tiff):
        return None
    (count,) = struct.unpack_from(f"{order}H", tiff, first)
    for entry in range(first + 2, min(first + 2 + 12 * count, len(tiff) - 11), 12):
        tag, kind, number, value = struct.unpack_from(f"{order}HHIH", tiff, entry)
        if tag == _ORIENTATION:
            return value if (kind, number) == (3, 1) and 2 <= value <= 8 else None
    return None


def _tiff(orientation: int) -> bytes:
    """An EXIF block with nothing but the orientation."""
    return struct.pack(">4sIHHHIHHI", b"MM\0*", 8, 1, _ORIENTATION, 3, 1, orientation, 0, 0)
