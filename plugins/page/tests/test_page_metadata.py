"""What a phone writes into a photo stays at the desk's door; the picture itself goes through byte by byte.

photos/ holds small pictures with everything a phone may write, each piece marked SECRET: place, time, maker and owner (EXIF), XMP, IPTC,
comments, a preview table, and a film behind the end. All but simple.webp are stored lying on their side (EXIF orientation 6).
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest
from hub_page.desk.images import NotAPhoto, check_image
from hub_page.desk.metadata import Malformed, without_metadata
from hub_page.people import scene
from hypothesis import given
from hypothesis import strategies as st

PHOTOS = sorted((Path(__file__).parent / "photos").iterdir())
SIDEWAYS = struct.pack(">4sIHHHIHHI", b"MM\0*", 8, 1, 0x0112, 3, 1, 6, 0, 0)
TYPES = {".jpg": "image/jpeg", ".png": "image/png", ".webp": "image/webp"}


def _stripped(path: Path) -> bytes:
    return without_metadata(TYPES[path.suffix], path.read_bytes())


def _jpeg(*segments: tuple[int, bytes], scan: bytes = b"\x11\x22") -> bytes:
    head = b"".join(struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload for marker, payload in segments)
    return b"\xff\xd8" + head + b"\xff\xda\0\3\1" + scan + b"\xff\xd9"


def _exif(orientation: int, order: str = "<", kind: int = 3) -> bytes:
    mark = b"II*\0" if order == "<" else b"MM\0*"
    maker = (0x010F, 2, 4, 0x41414141)
    tiff = mark + struct.pack(f"{order}IH", 8, 2) + struct.pack(f"{order}HHII", *maker)
    return b"Exif\0\0" + tiff + struct.pack(f"{order}HHIHHI", 0x0112, kind, 1, orientation, 0, 0)


def test_there_is_a_photo_of_every_kind() -> None:
    assert {path.name for path in PHOTOS} == {
        *("baseline.jpg", "progressive.jpg", "picture.png"),
        *("lossy.webp", "lossless.webp", "animated.webp", "simple.webp"),
    }


@pytest.mark.parametrize("path", PHOTOS, ids=lambda path: path.name)
def test_nothing_personal_is_left_in_a_photo(path: Path) -> None:
    stripped = _stripped(path)
    for word in (b"SECRET", b"2024:05:06", b"xmpmeta", b"Photoshop", b"ftyp", b"8BIM", b"MPF", b"tEXt", b"XMP "):
        assert word not in stripped
    assert len(stripped) <= path.stat().st_size


@pytest.mark.parametrize("path", PHOTOS, ids=lambda path: path.name)
def test_photo_still_knows_which_side_is_up(path: Path) -> None:
    assert (SIDEWAYS in _stripped(path)) == (path.name != "simple.webp")


@pytest.mark.parametrize("path", PHOTOS, ids=lambda path: path.name)
def test_cleaned_photo_stays_as_it_is(path: Path) -> None:
    once = _stripped(path)
    assert without_metadata(TYPES[path.suffix], once) == once
    assert check_image(path.read_bytes()).content == once


@pytest.mark.parametrize("path", PHOTOS, ids=lambda path: path.name)
def test_photo_cut_off_anywhere_is_refused_or_complete(path: Path) -> None:
    whole = _stripped(path)
    for length in range(len(whole)):
        with pytest.raises(Malformed):
            without_metadata(TYPES[path.suffix], whole[:length])


def test_picture_itself_is_not_touched() -> None:
    baseline = next(path for path in PHOTOS if path.name == "baseline.jpg").read_bytes()
    start = baseline.index(b"\xff\xda")
    picture = baseline[start : baseline.index(b"\xff\xd9", start)]
    assert picture in _stripped(next(path for path in PHOTOS if path.name == "baseline.jpg"))
    assert without_metadata("image/png", scene(1)) == scene(1)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(10))
def test_orientation_is_read_in_both_byte_orders(order: str, orientation: int) -> None:
    stripped = without_metadata("image/jpeg", _jpeg((0xE1, _exif(orientation, order))))
    assert b"AAAA" not in stripped
    assert (b"Exif" in stripped) == (2 <= orientation <= 8)


@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0",
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"Exif\0\0XX*\0\x08\0\0\0",
        _exif(6)[:-6],
        _exif(6, kind=4),
        b"Exif\0\0MM\0*\0\0\0\x08\0\0",
    ],
)
def test_exif_that_cannot_be_read_means_upright(exif: bytes) -> None:
    assert without_metadata("image/jpeg", _jpeg((0xE1, exif))) == _jpeg()


def test_jpeg_keeps_its_header_and_colours_and_loses_its_preview() -> None:
    jfif = b"JFIF\0\1\2\0\0\1\0\1\1\1" + b"\xaa\xbb\xcc"
    icc, adobe = b"ICC_PROFILE\0\1\1colours", b"Adobe\0\x64\0\0\0\0\1"
    given = _jpeg((0xE0, jfif), (0xE0, b"JFXX\0\x10preview"), (0xE2, icc), (0xEE, adobe), (0xFE, b"note"), (0xE5, b"maker"))
    kept = _jpeg((0xE0, jfif[:12] + b"\0\0"), (0xE2, icc), (0xEE, adobe))
    assert without_metadata("image/jpeg", given) == kept


def test_jpeg_with_fill_bytes_restarts_and_several_scans_is_read_to_its_end() -> None:
    scan = b"\x01\xff\x00\x02\xff\xd3\x03\xff\xff\xc4\0\4\1\2\xff\xff\xff\xda\0\3\1\x09"
    stripped = without_metadata("image/jpeg", _jpeg(scan=scan) + b"behind the end")
    assert stripped == _jpeg(scan=scan.replace(b"\xff\xff\xff", b"\xff").replace(b"\xff\xff", b"\xff"))


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xd8\xff\xd9",
        b"\xff\xd8\x00",
        b"\xff\xd8\xff\xd8\xff\xd9",
        b"\xff\xd8\xff\xe1\0\1\xff\xd9",
        b"\xff\xd8\xff\xd0\xff\xd9",
        b"\xff\xd8\xff\xe1\xff\xff\xff\xd9",
    ],
)
def test_jpeg_that_is_none_is_refused(content: bytes) -> None:
    with pytest.raises(Malformed):
        without_metadata("image/jpeg", content)


def _chunk(kind: bytes, payload: bytes = b"") -> bytes:
    return kind + struct.pack("<I", len(payload)) + payload + b"\0" * (len(payload) % 2)


@pytest.mark.parametrize(
    "chunks",
    [b"", _chunk(b"EXIF", b"x"), _chunk(b"VP8 ", b"picture") + _chunk(b"VP8X", b"\0" * 10), _chunk(b"VP8X", b"\0" * 10)],
)
def test_webp_that_is_none_is_refused(chunks: bytes) -> None:
    body = b"WEBP" + chunks
    with pytest.raises(Malformed):
        without_metadata("image/webp", b"RIFF" + struct.pack("<I", len(body)) + body)


def test_png_with_a_critical_chunk_nobody_knows_is_refused() -> None:
    strange = scene(0).replace(b"IDAT", b"ABCD")
    with pytest.raises(Malformed):
        without_metadata("image/png", strange)
    with pytest.raises(NotAPhoto):
        check_image(strange)


@given(st.sampled_from(PHOTOS), st.data())
def test_photo_changed_anywhere_breaks_nothing(path: Path, data: Any) -> None:
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        once = without_metadata(TYPES[path.suffix], bytes(content))
    except Malformed:
        return
    assert without_metadata(TYPES[path.suffix], once) == once
