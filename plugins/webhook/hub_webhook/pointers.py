"""JSON pointers (RFC 6901): where in a department's JSON something is. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import AfterValidator

_FORM = re.compile(r"(/([^~/]|~[01])*)*")
_INDEX = re.compile(r"0|[1-9]\d{0,6}")


def _checked(pointer: str) -> str:
    if not _FORM.fullmatch(pointer):
        raise ValueError("a JSON pointer is empty or starts with /, e.g. /data/ticket")
    return pointer


Pointer = Annotated[str, AfterValidator(_checked)]
"""A JSON pointer, checked."""


def at(document: Any, pointer: str) -> Any:
    """What is at a pointer; None when nothing is."""
    found = document
    for token in pointer.split("/")[1:]:
        name = token.replace("~1", "/").replace("~0", "~")
        if isinstance(found, dict):
            found = found.get(name)
        elif isinstance(found, list) and _INDEX.fullmatch(name) and int(name) < len(found):
            found = found[int(name)]
        else:
            return None
    return found


def first(document: Any, pointers: Sequence[str]) -> Any:
    """What is at the first pointer that leads to something."""
    return next((found for pointer in pointers if (found := at(document, pointer)) is not None), None)


def text_at(document: Any, pointers: Sequence[str], *, most: int = 2_000) -> str | None:
    """A text or number found so, as text without surrounding space; None for nothing, emptiness and everything else."""
    found = first(document, pointers)
    if isinstance(found, bool) or not isinstance(found, str | int):
        return None
    return str(found).strip()[:most] or None
