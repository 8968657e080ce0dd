"""The form of a command: what its fields may hold, who may give it, an example. Pure.

A command declares each of its fields by a type here (or one made like these): how long it may be, whether people write in it, and how
it is explained to who fills it in. Request bodies, the interface's document, the command line's options, the masks and the rights
all follow from the command itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

from hub.model.district.areas import AreaCode, UnitCode
from hub.model.records import Attachment
from hub.model.rights import KeyScope, Role
from hub.model.texts import CODE, HUB_SAYS, WRITTEN, Moment, Prose, Word

Reason = Annotated[Prose, Meta(description="Why.")]
Note = Annotated[Prose, Meta(description="What was done or found.")]
Task = Annotated[Prose, Meta(description="The unit's part of it.")]
Remark = Annotated[Prose, Meta(description="The remark.")]
Message = Annotated[Prose, Meta(description="What to say.")]
AssignmentRef = Annotated[Word, Meta(description="Assignment, e.g. a1.")]
RequestRef = Annotated[Word, Meta(description="Open request, e.g. q1.")]
UnitRef = Annotated[UnitCode, Meta(min_length=1, max_length=64, extra=CODE, description="Code of the unit.")]
AreaRef = Annotated[
    AreaCode,
    Meta(pattern=r"^\d{6,15}$", max_length=15, extra=CODE, description="Area code, 6 to 15 digits."),
]
CategoryRef = Annotated[Word, Meta(description="Category code.")]
Until = Annotated[
    Moment,
    Meta(description="Until when: ISO time, the district's unless it has an offset."),
]
HappenedAt = Annotated[Moment, Meta(description="When it happened there, ISO time.")]
Files = Annotated[tuple[Attachment, ...], Meta(extra=HUB_SAYS)]
"""Files already stored; they have a route of their own."""
SaidBy = Annotated[str, Meta(extra={**WRITTEN, **HUB_SAYS})]
"""Who it was: the token or the department's system says it, never the body."""


@dataclass(frozen=True, kw_only=True)
class Form:
    """What there is to know of a command that people may give, beside its fields."""

    roles: frozenset[Role]
    """Who may give it; the aggregate's own rules come after."""
    example: Mapping[str, object]
    """A body, as it stands in the interface's document."""
    scope: KeyScope | None = None
    """Which scope opens it to keys; None: closed to them."""
