"""Who gives a command. Vocabulary, no behaviour."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from hub.model.district.areas import Level, UnitCode


class ActorKind(StrEnum):
    """What sort of actor gave a command."""

    PERSON = "person"
    DEPARTMENT = "department"
    SYSTEM = "system"


class Actor(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """Who gives a command. `level` is that of the unit, None for departments and the hub itself."""

    kind: ActorKind
    name: str
    unit: UnitCode | None = None
    level: Level | None = None


SYSTEM = Actor(kind=ActorKind.SYSTEM, name="hub")
