"""Kinds of text in commands: people's sentences, masked before they are stored, and codes of systems. Pure.

A command declares each text as one of the kinds here. `Aggregate` refuses a command with an undeclared one. So no field reaches the ledger
unmasked because nobody thought of it. Called by the desk (masking) and where forms are made from commands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Annotated, Any, Final, TypeVar

import msgspec
from msgspec import Meta, inspect

S = TypeVar("S", bound=msgspec.Struct)

MOST_PROSE: Final = 2_000
"""Characters of a remark, a reason, a message."""
WRITTEN: Final = {"text": "written"}
"""Marks a text that people write, as the `extra` of what is declared of it."""
CODE: Final = {"text": "code"}
"""Marks a text that is a code."""
HUB_SAYS: Final = {"said_by": "hub"}
"""Marks a field that nobody fills in: who it was is the token's word, files have a route of their own."""

Written = Annotated[str, Meta(extra=WRITTEN)]
"""What people wrote, of whatever length: it came through a form or a check of its own before. Masked."""
Prose = Annotated[str, Meta(min_length=1, max_length=MOST_PROSE, pattern=r"\S", extra=WRITTEN)]
"""What somebody writes now. Masked."""
Code = Annotated[str, Meta(extra=CODE)]
"""A system's number, name or code. Nobody writes sentences in it, so it is stored as it is."""
Word = Annotated[str, Meta(min_length=1, max_length=64, extra=CODE)]
"""A code that somebody names now."""
Moment = Annotated[datetime, Meta(tz=True)]
"""A time with its offset."""


@dataclass(frozen=True, slots=True)
class Text:
    """One text of a command: at which field, and what was declared of it."""

    path: str
    written: bool
    bounded: bool
    by_hub: bool


def texts_of(kind: type[msgspec.Struct]) -> Iterator[Text]:
    """Every text that a command, or a value in it, can have. Raises ValueError naming a text of no declared kind."""
    for field in _fields(kind):
        yield from _texts(field.type, f"{kind.__name__}.{field.name}", {})


def check(kind: type[msgspec.Struct], *, given: bool) -> None:
    """Raises ValueError for a text of no kind, and for one without a greatest length that people may fill in (`given`)."""
    for text in texts_of(kind):
        if given and not text.bounded and not text.by_hub:
            raise ValueError(f"{text.path}: what people may fill in has to have a greatest length")


def filled_in(kind: type[msgspec.Struct]) -> tuple[msgspec.structs.FieldInfo, ...]:
    """The fields somebody fills in; the others are the hub's own word."""
    mine = {field.name for field in _fields(kind) if not _by_hub(field.type)}
    return tuple(field for field in msgspec.structs.fields(kind) if field.name in mine)


def one_of(kind: object, field: str) -> str:
    """`: one of yes, no, refused`, where the field of a struct is a choice; else nothing. For whoever gave something else."""
    found = inspect.type_info(kind)
    told = (
        next((one.type for one in found.fields if one.encode_name == field), None)
        if isinstance(found, inspect.StructType)
        else None
    )
    parts = told.types if isinstance(told, inspect.UnionType) else (told,)
    plain = (part.type if isinstance(part, inspect.Metadata) else part for part in parts)
    choices = next((part.cls for part in plain if isinstance(part, inspect.EnumType)), None)
    return "" if choices is None else f": one of {', '.join(str(choice.value) for choice in choices)}"


def reworded(value: S, change: Callable[[str], str]) -> S:
    """A command with `change` applied to all that people wrote in it; the same object when nothing changes."""
    changes: dict[str, object] = {}
    for name, written in _holding(type(value)):
        found = getattr(value, name)
        if isinstance(found, str):
            fresh: object = change(found) if written else found
        elif isinstance(found, msgspec.Struct):
            fresh = reworded(found, change)
        elif isinstance(found, tuple):
            items = tuple(_item_reworded(item, change, written=written) for item in found)
            fresh = items if any(one is not other for one, other in zip(items, found, strict=True)) else found
        else:
            continue
        if fresh is not found and fresh != found:
            changes[name] = fresh
    return msgspec.structs.replace(value, **changes) if changes else value


def _item_reworded(item: Any, change: Callable[[str], str], *, written: bool) -> Any:
    if isinstance(item, msgspec.Struct):
        return reworded(item, change)
    return change(item) if written and isinstance(item, str) else item


def _fields(kind: type[msgspec.Struct]) -> tuple[inspect.Field, ...]:
    found = inspect.type_info(kind)
    assert isinstance(found, inspect.StructType)
    return found.fields


def _texts(found: inspect.Type, path: str, declared: Mapping[str, Any]) -> Iterator[Text]:
    match found:
        case inspect.Metadata():
            yield from _texts(found.type, path, {**declared, **(found.extra or {})})
        case inspect.StrType():
            if "text" not in declared:
                raise ValueError(f"{path}: a text of no kind; declare it as one of those in hub.model.texts")
            written = declared["text"] == WRITTEN["text"]
            yield Text(path, written, bounded=found.max_length is not None, by_hub="said_by" in declared)
        case inspect.UnionType():
            for one in found.types:
                yield from _texts(one, path, declared)
        case inspect.VarTupleType(item_type=inspect.StructType() | inspect.StrType() | inspect.Metadata() as item):
            yield from _texts(item, path, declared)
        case inspect.StructType():
            for field in found.fields:
                yield from _texts(field.type, f"{path}.{field.name}", declared)
        case inspect.BoolType() | inspect.IntType() | inspect.FloatType() | inspect.EnumType() | inspect.LiteralType():
            pass
        case inspect.DateTimeType() | inspect.DateType() | inspect.TimeDeltaType() | inspect.NoneType():
            pass
        case _:
            raise ValueError(
                f"{path}: no form describes such a field; use a text, a number, a choice, a time or a tuple of those"
            )


def _by_hub(found: inspect.Type) -> bool:
    parts = found.types if isinstance(found, inspect.UnionType) else (found,)
    return any(isinstance(part, inspect.Metadata) and "said_by" in (part.extra or {}) for part in parts)


@lru_cache(maxsize=1024)
def _holding(kind: type[msgspec.Struct]) -> tuple[tuple[str, bool], ...]:
    """The fields that can hold text, and whether people write in them."""
    held = []
    for field in _fields(kind):
        texts = tuple(_texts(field.type, field.name, {}))
        if texts:
            held.append((field.name, any(text.written for text in texts)))
    return tuple(held)
