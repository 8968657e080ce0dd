"""The filters of the lists. Each is the query model of its route. The options of its command are made from it.

A field gives its description, its limits and its condition in SQL, so one more filter is one more field. Conditions use the columns' own
operators. Commands are built from these models, too, and start faster without the SQL library.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from hub.errors import InvalidInput
from hub.model.answers import Closing, Reached, Satisfied, Solved
from hub.model.assignments.state import KEY_PATTERN, STOPPED, AssignmentState, AttemptOutcome, parse_delivery_key
from hub.model.case.state import Channel, Severity, Stage
from hub.model.district.areas import Level

if TYPE_CHECKING:
    from hub.views.queries import Asked

MOST_IN_PAGE = 200
NEAR_BY = 500
"""Metres that are near, unless somebody says how many."""
FARTHEST_SEARCH = 50_000
"""Metres over which a search near by is exact enough."""


@dataclass(frozen=True, slots=True)
class Where:
    """The condition of a field that was given. It gets values as the tables have them: words, and times in microseconds."""

    condition: Callable[[Asked, Any], Any]


def whether(condition: Callable[[Asked], Any]) -> Where:
    """The condition of a yes or no: no means that it does not hold."""
    return Where(lambda here, yes: condition(here) if yes else ~condition(here))


class Filter(BaseModel):
    """What is wanted of a list, and which piece of it. None or an empty list means any."""

    model_config = ConfigDict(frozen=True)

    limit: Annotated[int, Field(ge=1, le=MOST_IN_PAGE, description="At most so many")] = 50
    cursor: Annotated[str | None, Field(max_length=300, description="Behind the page that gave it")] = None


class Sort(StrEnum):
    """Orders of a list; `-` is descending."""

    NEWEST = "-reported_at"
    OLDEST = "reported_at"
    LATEST_CHANGE = "-updated_at"
    EARLIEST_CHANGE = "updated_at"
    DUE = "due_at"


class CaseFilter(Filter):
    """Which cases."""

    stage: Annotated[
        tuple[Stage, ...], Field(description="One or more stages"), Where(lambda here, those: here.cases.stage.in_(those))
    ] = ()
    area: Annotated[
        str | None,
        Field(pattern=r"^\d{6,15}$", description="Area code: at and below it"),
        Where(lambda here, code: here.in_area(code)),
    ] = None
    unit: Annotated[
        str | None,
        Field(max_length=64, description="Holds the case, or has an assignment"),
        Where(lambda here, code: (here.cases.holder == code) | here.assigned_to(code)),
    ] = None
    category: Annotated[
        str | None, Field(max_length=64, description="Category code"), Where(lambda here, code: here.cases.category == code)
    ] = None
    severity: Annotated[
        Severity | None, Field(description="How grave"), Where(lambda here, one: here.cases.severity == one)
    ] = None
    channel: Annotated[
        Channel | None, Field(description="Where it came from"), Where(lambda here, one: here.cases.channel == one)
    ] = None
    level: Annotated[
        Literal["grid", "community", "street", "district"] | None,
        Field(description="Level that holds it"),
        Where(lambda here, word: here.cases.level == int(Level.parse(word))),
    ] = None
    reached: Annotated[
        Reached | None,
        Field(description="Whether the reporter was reached"),
        Where(lambda here, one: here.cases.reached == one),
    ] = None
    solved: Annotated[
        Solved | None,
        Field(description="Whether the reporter says it is solved"),
        Where(lambda here, one: here.cases.solved == one),
    ] = None
    satisfied: Annotated[
        Satisfied | None,
        Field(description="Whether the reporter is content"),
        Where(lambda here, one: here.cases.satisfied == one),
    ] = None
    closing: Annotated[
        Closing | None, Field(description="How it was closed"), Where(lambda here, one: here.cases.closing == one)
    ] = None
    late: Annotated[bool | None, Field(description="A limit that runs has passed"), whether(lambda here: here.late)] = None
    attention: Annotated[
        bool | None, Field(description="An operator has to look"), whether(lambda here: here.cases.attention > 0)
    ] = None
    dead: Annotated[
        bool | None, Field(description="A delivery's attempts are used up"), whether(lambda here: here.cases.dead == 1)
    ] = None
    open: Annotated[bool | None, Field(description="Not closed, void or merged"), whether(lambda here: ~here.ended)] = None
    q: Annotated[
        str | None,
        Field(max_length=200, description="Words in title, text, place, notes, numbers"),
        Where(lambda here, words: here.found_by(words)),
    ] = None
    near: Annotated[
        str | None,
        Field(max_length=60, description=f"Near a point: LON,LAT on WGS-84; within {NEAR_BY} m unless within_m says how far"),
        Where(lambda here, place: here.near(place)),
    ] = None
    within_m: Annotated[
        int | None,
        Field(ge=1, le=FARTHEST_SEARCH, description="Metres around near"),
        Where(lambda here, metres: here.within(metres)),
    ] = None
    since: Annotated[
        AwareDatetime | None,
        Field(description="Reported at or after"),
        Where(lambda here, at: here.cases.reported_at >= at),
    ] = None
    until: Annotated[
        AwareDatetime | None, Field(description="Reported before"), Where(lambda here, at: here.cases.reported_at < at)
    ] = None
    sort: Annotated[Sort, Field(description="Order; - is descending")] = Sort.NEWEST


class DeliveryFilter(Filter):
    """Which deliveries."""

    adapter: Annotated[
        str | None,
        Field(max_length=64, description="Adapter instance"),
        Where(lambda here, name: here.assignments.adapter == name),
    ] = None
    unit: Annotated[
        str | None,
        Field(max_length=64, description="Whose deliveries"),
        Where(lambda here, code: here.assignments.unit == code),
    ] = None
    state: Annotated[
        tuple[AssignmentState, ...],
        Field(description="One or more states"),
        Where(lambda here, those: here.assignments.state.in_(those)),
    ] = ()
    stopped: Annotated[
        bool | None,
        Field(description="Waits for an operator: dead, refused or uncertain while the case goes on"),
        whether(lambda here: here.assignments.state.in_([state.value for state in STOPPED]) & ~here.ended),
    ] = None
    outcome: Annotated[
        tuple[AttemptOutcome, ...],
        Field(description="How the last attempt ended"),
        Where(lambda here, those: here.assignments.outcome.in_(those)),
    ] = ()
    case: Annotated[
        str | None, Field(max_length=42, description="Case id"), Where(lambda here, id: here.assignments.matter == id)
    ] = None
    key: Annotated[
        str | None,
        Field(pattern=rf"^{KEY_PATTERN}$", description="Delivery key"),
        Where(lambda here, key: _is(here, *parse_delivery_key(key))),
    ] = None
    ticket: Annotated[
        str | None,
        Field(max_length=200, description="The department's own number"),
        Where(lambda here, number: here.assignments.ticket == number),
    ] = None
    q: Annotated[
        str | None,
        Field(max_length=200, description="Key, ticket, or words of the case"),
        Where(lambda here, words: _named(here, words.strip())),
    ] = None
    since: Annotated[
        AwareDatetime | None,
        Field(description="Last tried at or after"),
        Where(lambda here, at: here.assignments.tried_at >= at),
    ] = None
    until: Annotated[
        AwareDatetime | None, Field(description="Last tried before"), Where(lambda here, at: here.assignments.tried_at < at)
    ] = None


def _is(here: Asked, matter: str, assignment: str) -> Any:
    return (here.assignments.matter == matter) & (here.assignments.assignment == assignment)


def _named(here: Asked, word: str) -> Any:
    """By ticket, case or key, or by the words of the case's texts. Raises InvalidInput for no word at all."""
    if not word:
        raise InvalidInput("holds no word to look for", subject="q")
    matter, _, assignment = word.partition(".")
    named = (here.assignments.ticket == word) | (here.assignments.matter == word) | _is(here, matter, assignment)
    hits = here.search.matches(word)
    return named if hits is None else named | hits
