"""Encoding answers, and reading one's own writes: a caller who changed something sees it in the next list.

Called by every route.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Generic, TypeVar

import msgspec
from fastapi import Header, Query, Request
from starlette.responses import Response

from hub.surfaces.api.people.auth import Caller, services_of
from hub.surfaces.api.problems import Failure, FieldError

if TYPE_CHECKING:
    from hub.spine.ledger.desk import Outcome
    from hub.surfaces.api.services import Services

S = TypeVar("S", bound=msgspec.Struct)
T = TypeVar("T")

WAIT = 2.0
"""The most seconds a read waits for the read models."""
SEQUENCE = "Hub-Sequence"
"""Response header: the ledger sequence an answer is as of."""
REPLAYED = "Idempotency-Replayed"
_MOST_REMEMBERED = 10_000
_KEY = r"^[\x21-\x7e]{1,200}$"

encode = msgspec.json.Encoder().encode

KeyHeader = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        pattern=_KEY,
        description="The same key never does it twice; kept as long as the case. Another request under it: 422.",
    ),
]
Fresh = Annotated[
    bool, Query(description=f"The answer holds all that is in the ledger, or it is a 503 (after {WAIT:.0f} s): then ask again.")
]


class Answered(Response, Generic[T]):
    """An answer in JSON of a known form. A route with the return type `Answered[CaseList]` has `CaseList` in the document."""

    kind: ClassVar[Any] = None
    _made: ClassVar[dict[Any, type[Answered[Any]]]] = {}

    def __class_getitem__(cls, kind: Any) -> type[Answered[Any]]:
        return cls.of(kind)

    @classmethod
    def of(cls, kind: Any) -> type[Answered[Any]]:
        """The response with a body of form `kind`. FastAPI takes it for a response and does not validate it."""
        if kind not in cls._made:
            cls._made[kind] = type(f"Answered[{kind}]", (cls,), {"kind": kind})
        return cls._made[kind]


class Writes:
    """The last commit each token made, so that its next read waits for it."""

    def __init__(self) -> None:
        self._last: OrderedDict[str, int] = OrderedDict()

    def note(self, token: str, sequence: int) -> None:
        """Remember a write."""
        self._last[token] = max(sequence, self._last.get(token, 0))
        self._last.move_to_end(token)
        while len(self._last) > _MOST_REMEMBERED:
            self._last.popitem(last=False)

    def last(self, token: str) -> int:
        """The last write's sequence; 0 without one."""
        return self._last.get(token, 0)


def utc_now() -> datetime:
    """The clock of the interface."""
    return datetime.now(UTC)


def alike(form: type[S], source: object, **also: object) -> S:
    """An answer with the attributes of `source` as its fields. `also`: fields that `source` lacks, or that readers see differently."""
    given = {name: getattr(source, name) for name in form.__struct_fields__ if name not in also and hasattr(source, name)}
    return form(**given, **also)


def answer(body: T, status: int = 200, headers: Mapping[str, str] | None = None) -> Answered[T]:
    """An answer as JSON."""
    return Answered(encode(body), status, dict(headers or {}), "application/json")


def wrote(request: Request, caller: Caller, sequence: int) -> None:
    """Remember that this caller wrote, for its next read."""
    writes: Writes = request.app.state.writes
    writes.note(caller.token.id, sequence)


async def settle(request: Request, caller: Caller, *, fresh: bool) -> None:
    """Before a read: wait for the caller's own last write, and with `fresh` for everything in the ledger.

    Raises Failure(503) when the read models don't hold it within WAIT. An answer without it would pass for the whole.
    """
    services = services_of(request)
    writes: Writes = request.app.state.writes
    wanted = writes.last(caller.token.id)
    if fresh:
        wanted = max(wanted, await services.ledger.last_sequence())
    if wanted and not await services.views.wait_for(wanted, WAIT):
        detail = "The read models don't hold the latest commits yet. Ask again."
        raise Failure(503, "unavailable", detail, headers={"Retry-After": "1"})


async def told_on(services: Services, outcome: Outcome[Any]) -> None:
    """Wait until readers see the commands passed on to another matter, at most WAIT seconds. They arrive all the same."""
    sequence = await services.desks.followed(outcome, WAIT)
    if sequence > outcome.sequence:
        await services.views.wait_for(sequence, WAIT)


def needed(key: str | None) -> str:
    """The key of a request that can't do without; raises Failure(400)."""
    if key is None:
        raise Failure(
            400,
            "key_missing",
            "Send an Idempotency-Key header (a new UUID for every new report), so that a repeat opens nothing twice.",
            errors=(FieldError(field="Idempotency-Key", message="missing"),),
        )
    return key


def command_id(caller: Caller, key: str | None) -> str | None:
    """The command's id for a key: two callers' keys never meet."""
    return None if key is None else hashlib.sha256(f"{caller.token.id}\n{key}".encode()).hexdigest()[:32]
