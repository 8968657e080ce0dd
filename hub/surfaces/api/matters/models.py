"""Answers that every kind of matter has: its story, its list, what a command came to."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from hub.surfaces.api.models import ActorAnswer, Answer


class TimelineItem(Answer, frozen=True, kw_only=True):
    """One event of the case's story; `body` has the event's own fields."""

    sequence: int
    number: int
    at: datetime
    event: str
    command: str
    policy: int
    actor: ActorAnswer
    body: dict[str, Any]
    traceparent: str | None = None


class Timeline(Answer, frozen=True, kw_only=True):
    """The story of a case, oldest first."""

    case: str
    items: list[TimelineItem]


class Result(Answer, frozen=True, kw_only=True):
    """What a command came to: its events by name, and the matter after it. `repeated`: it was done before under the same key."""

    matter: Any
    sequence: int
    events: list[str]
    repeated: bool


class MatterList(Answer, frozen=True, kw_only=True):
    """A page of matters, newest first; `cursor` gives the next one, null at the end."""

    items: list[Any]
    cursor: str | None
