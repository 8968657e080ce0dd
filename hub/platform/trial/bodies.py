"""Reads a body by its kind, so that it can be shown, blotted by name and compared: JSON, a form, XML, text, parts, or bytes."""

from __future__ import annotations

import base64
import email
import email.policy
import json
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

MOST_BODY = 256 * 1024
"""Most bytes of a body to show. A longer one shows only its size."""
_CHARSET = re.compile(r"charset=[\"']?([\w.:-]+)", re.IGNORECASE)
_XML_ENCODING = re.compile(rb"^<\?xml[^>]*encoding=[\"']([\w.-]+)[\"']")


@dataclass(frozen=True, kw_only=True)
class Parsed:
    """A body read. `kind` as in `hub.platform.trial.values.Body`; `encoding` of text that is not UTF-8."""

    kind: str
    content: Any = None
    encoding: str = ""


def parse(raw: bytes, media_type: str) -> Parsed:
    """Read a body by its Content-Type, and by its first character where that says nothing."""
    if not raw:
        return Parsed(kind="empty")
    if len(raw) > MOST_BODY:
        return Parsed(kind="left_out")
    kind = media_type.partition(";")[0].strip().lower()
    if kind.startswith("multipart/"):
        return Parsed(kind="multipart", content=_parts(raw, media_type))
    text, encoding = _text(raw, media_type)
    if text is None:
        return Parsed(kind="binary", content=base64.b64encode(raw).decode())
    if kind == "application/x-www-form-urlencoded":
        return Parsed(kind="form", content=_form(text), encoding=encoding)
    bare = text.lstrip("\ufeff \t\r\n")
    if "json" in kind or bare[:1] in ("{", "["):
        try:
            return Parsed(kind="json", content=json.loads(bare), encoding=encoding)
        except (ValueError, RecursionError):
            return Parsed(kind="text", content=text, encoding=encoding)
    if "xml" in kind or bare.startswith("<?xml"):
        return Parsed(kind="xml", content=text, encoding=encoding)
    return Parsed(kind="text", content=text, encoding=encoding)


def _text(raw: bytes, media_type: str) -> tuple[str | None, str]:
    """The text and its encoding, empty for UTF-8; None: it is no text."""
    named = _CHARSET.search(media_type)
    declared = _XML_ENCODING.match(raw)
    encoding = named[1] if named else declared[1].decode("ascii") if declared else "utf-8"
    for candidate in dict.fromkeys((encoding, "utf-8")):
        try:
            text = raw.decode(candidate)
        except (LookupError, UnicodeDecodeError):
            continue
        if "\0" not in text:
            return text, "" if candidate.lower().replace("_", "-") in (
                "utf-8",
                "utf8",
                "us-ascii",
                "ascii",
            ) else candidate.lower()
    return None, ""


def _form(text: str) -> dict[str, Any]:
    """The fields; those that come several times as a list."""
    found: dict[str, Any] = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        if name in found:
            before = found[name]
            found[name] = [*before, value] if isinstance(before, list) else [before, value]
        else:
            found[name] = value
    return found


def _parts(raw: bytes, media_type: str) -> list[dict[str, Any]]:
    """Name, file name, type and size of each part, and the text of a plain field."""
    message = email.message_from_bytes(b"Content-Type: " + media_type.encode() + b"\r\n\r\n" + raw, policy=email.policy.HTTP)
    found = []
    for part in message.iter_parts() if message.is_multipart() else ():
        content = part.get_payload(decode=True)
        content = content if isinstance(content, bytes) else b""
        shown: dict[str, Any] = {
            "name": part.get_param("name", header="content-disposition"),
            "file": part.get_filename(),
            "type": part.get_content_type(),
            "size": len(content),
        }
        if shown["file"] is None:
            shown["content"] = content.decode(errors="replace")
        found.append({name: value for name, value in shown.items() if value is not None})
    return found
