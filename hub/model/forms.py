"""The form of a command: its fields' possible values, its givers, an example. Pure.

A command declares each field by a type here, or by one made like these. The type says how long a value may be, whether people write it, and
how to explain it to people. Request bodies, the interface's document, the command line's options, the masks and the rights all follow from
the command itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

from hub.model.answers import Closing, Reached, Satisfied, Solved
from hub.model.district.areas import AreaCode, UnitCode
from hub.model.records import Attachment
from hub.model.rights import KeyScope, Role
from hub.model.texts import CODE, HUB_SAYS, WRITTEN, Moment, Prose, Word

Reason = Annotated[Prose, Meta(description="Why.")]
Note = Annotated[Prose, Meta(description="What was done or found.")]
PublicReply = Annotated[Prose, Meta(description="What may be read to the reporter: no names, no numbers of persons.")]
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
IsReached = Annotated[Reached, Meta(description="Whether the reporter was reached, or refused to be asked.")]
Tries = Annotated[int, Meta(ge=1, le=100, description="How often the reporter was tried.")]
IsSolved = Annotated[Solved, Meta(description="Whether it is solved.")]
IsSatisfied = Annotated[Satisfied, Meta(description="Whether the reporter is content.")]
ClosingSaid = Annotated[Closing, Meta(description="faulty or special; normal and late follow from the limit.")]
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
