"""Words of old and careless mail clients: headers and bodies in gb2312 that are really gb18030, in raw bytes, or wrongly labelled. Pure."""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from email.message import Message
from quopri import decodestring

_CHINESE = frozenset(
    {"gb2312", "gb_2312-80", "gbk", "x-gbk", "cp936", "ms936", "gb18030", "euc-cn", "gb2312_charset", "hz-gb-2312"}
)
_WORD = re.compile(r"=\?([A-Za-z0-9_.:-]+)(?:\*[A-Za-z-]+)?\?([BbQq])\?([^?\s]*)\?=")
_BETWEEN = re.compile(r"(\?=)\s+(=\?)")


def text_of(content: bytes, charset: str | None) -> str:
    """Bytes as text: by their label read as its superset, else UTF-8, else GB18030; never fails."""
    label = (charset or "").strip("\"' ").lower()
    if label == "hz-gb-2312":
        candidates = ["hz", "gb18030"]
    elif label in _CHINESE:
        candidates = ["gb18030", "utf-8"]
    else:
        candidates = [*([label] if label and label not in ("us-ascii", "ascii", "unknown-8bit") else []), "utf-8", "gb18030"]
    for candidate in candidates:
        try:
            return content.decode(candidate).replace("\0", "")
        except (ValueError, LookupError):  # a UnicodeError is a ValueError; labels can be anything
            continue
    return content.decode("gb18030" if label in _CHINESE else "utf-8", "replace").replace("\0", "")


def header_of(message: Message, name: str) -> str:
    """A header in clear, on one line; empty when there is none. Words of one character cut in two are put together again."""
    raw = next((value for key, value in message.raw_items() if key.lower() == name.lower()), "")  # get() loses raw bytes
    return words_of(str(raw))


def words_of(raw: str) -> str:
    """Encoded words (RFC 2047) in clear; raw bytes (surrogates of the parser) by their likely charset."""
    text = _BETWEEN.sub(r"\1\2", raw)
    pieces: list[str] = []
    waiting: tuple[str, bytes] | None = None
    position = 0
    for match in _WORD.finditer(text):
        between = text[position : match.start()]
        charset, content = match[1].lower(), _content(match[2], match[3])
        if waiting is not None and not between and waiting[0] == charset:
            waiting = (charset, waiting[1] + content)
        else:
            if waiting is not None:
                pieces.append(text_of(waiting[1], waiting[0]))
            pieces.append(_plain(between))
            waiting = (charset, content)
        position = match.end()
    if waiting is not None:
        pieces.append(text_of(waiting[1], waiting[0]))
    pieces.append(_plain(text[position:]))
    return " ".join("".join(pieces).split())


def body_of(part: Message) -> str:
    """The text of a text part."""
    content = part.get_payload(decode=True)
    charset = part.get_param("charset")
    return text_of(content if isinstance(content, bytes) else b"", charset if isinstance(charset, str) else None)


def file_name_of(part: Message) -> str:
    """The name of an attachment: RFC 2231 or encoded words, without folders; empty when there is none."""
    value = part.get_param("filename", header="content-disposition") or part.get_param("name")
    if isinstance(value, tuple):
        name = text_of(value[2].encode("latin-1", "replace"), value[0])
    else:
        name = words_of(value) if isinstance(value, str) else ""
    return re.sub(r"[\x00-\x1f\x7f]", "", re.split(r"[/\\]", name)[-1]).strip()[:200]


def _content(encoding: str, coded: str) -> bytes:
    raw = coded.encode("ascii", "ignore")
    if encoding in "Qq":
        return decodestring(raw, header=True)
    try:
        return b64decode(raw + b"=" * (-len(raw) % 4))
    except (binascii.Error, ValueError):
        return raw


def _plain(text: str) -> str:
    try:
        return text_of(text.encode("ascii", "surrogateescape"), None)
    except UnicodeEncodeError:
        return text
