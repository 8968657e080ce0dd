"""Decides by its content whether an upload is a photo the desk takes, and takes the phone's own notes out of it.

Pure; a file's name or declared type is never believed.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from hub_page.desk.metadata import Malformed, without_metadata
from hub_page.messages import MOST_PHOTO, MediaType

_JPEG, _JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"
_PNG, _PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"
_HEIF_BRANDS = (b"heic", b"heix", b"heif", b"mif1", b"msf1", b"hevc", b"avif")


class NotAPhoto(Exception):
    """The upload is not taken; `code` says why: empty, too_large, heic, not_an_image, cut_off."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, kw_only=True)
class CheckedImage:
    """An upload that is a photo, without metadata."""

    media_type: MediaType
    content: bytes


def check_image(content: bytes) -> CheckedImage:
    """JPEG, PNG or WebP of at most 10 MiB, complete to its end, without metadata; raises NotAPhoto."""
    if not content:
        raise NotAPhoto("empty")
    if len(content) > MOST_PHOTO:
        raise NotAPhoto("too_large")
    media_type = _media_type(content)
    if not _complete(media_type, content):
        raise NotAPhoto("cut_off")
    try:
        return CheckedImage(media_type=media_type, content=without_metadata(media_type, content))
    except Malformed as error:
        raise NotAPhoto("cut_off") from error


def _media_type(content: bytes) -> MediaType:
    if content.startswith(_JPEG):
        return "image/jpeg"
    if content.startswith(_PNG) and content[12:16] == b"IHDR":
        return "image/png"
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "image/webp"
    if content[4:8] == b"ftyp" and content[8:12] in _HEIF_BRANDS:
        raise NotAPhoto("heic")
    raise NotAPhoto("not_an_image")


def _complete(media_type: MediaType, content: bytes) -> bool:
    """Whether the end is there, judged quickly; what is inside is read when the metadata is taken out."""
    match media_type:
        case "image/jpeg":
            return _JPEG_END in content
        case "image/png":
            return _PNG_END in content and 0 not in struct.unpack(">II", content[16:24])
        case "image/webp":
            return len(content) >= 20 and int.from_bytes(content[4:8], "little") + 8 <= len(content)
