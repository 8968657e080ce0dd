"""Answers of the HTTP interface. The same structs are encoded and described in the OpenAPI document.

Times are UTC, ISO 8601; levels are words; codes come with their names where a reader needs them.
"""

from __future__ import annotations

import msgspec


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all answers."""


class ActorAnswer(Answer, frozen=True, kw_only=True):
    """Who did it."""

    kind: str
    name: str
    unit: str | None = None
    level: str | None = None
