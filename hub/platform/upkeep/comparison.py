"""Compares one adapter's assignments in the hub with the department's list, page by page.

A disagreement counts when two passes some time apart find it and the ledger agrees. A change under way on either side is none. Changes
nothing. Called by reconciliation.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from hub.bus.cancellation import raise_if_cancelled
from hub.contract import Audit, Capability, Standing
from hub.errors import AdapterFault, HubError
from hub.model.assignments.state import AssignmentState, parse_delivery_key
from hub.model.case.state import CaseId
from hub.platform.trial.sample import is_sample
from hub.platform.upkeep.disagreements import Disagreement, Held, What, between, disagreement, held_of
from hub.spine.ledger.desk import utc_now
from hub.views import by_adapter
from hub.views.schema import micros, moment

if TYPE_CHECKING:
    from sqlalchemy import Select

    from hub.spine.ledger.store import Ledger
    from hub.views.views import Views

VIEWS_WITHIN = 60.0
"""Seconds in which the read models have to catch up with the ledger. Else the run is put off."""
MOST_PAGES = 20_000
MOST_UNKNOWN = 2000
"""One pass names foreign tickets up to so many disagreements. Only a wrong system brings more."""


ENDED_WITHIN = timedelta(days=30)
"""How far back ended assignments are compared."""
GRACE = timedelta(seconds=60)
"""Between the two passes: what is under way on either side arrives meanwhile."""


@runtime_checkable
class Auditor(Protocol):
    """An instance that can be asked how tickets stand (one that runs elsewhere can't)."""

    def can(self, capability: Capability) -> bool:
        """Whether the plugin declares it."""
        ...

    async def audit(self, cursor: str | None) -> Audit:
        """One page; raises hub errors only."""
        ...

    async def catalogue(self) -> Mapping[str, str]:
        """The department's categories; raises hub errors only."""
        ...


class Behind(HubError):
    """The read models don't hold the ledger's end yet: nothing can be said."""

    code = "views_behind"


@dataclass(slots=True)
class Pass:
    """What one pass over both sides found."""

    found: dict[str, tuple[Disagreement, Standing | None]] = field(default_factory=dict)
    pages: int = 0
    theirs: int = 0
    ours: int = 0
    agreed: int = 0
    elsewhere: int = 0


class Comparison:
    """Compares the two sides. `adapters`: the names of all instances; `grace`: between the passes."""

    def __init__(
        self,
        adapters: Callable[[], Iterable[str]],
        ledger: Ledger,
        views: Views,
        *,
        clock: Callable[[], datetime] = utc_now,
        grace: timedelta = GRACE,
        ended_within: timedelta = ENDED_WITHIN,
    ) -> None:
        self._adapters = adapters
        self._ledger = ledger
        self._views = views
        self._clock = clock
        self._grace = grace.total_seconds()
        self._ended_within = ended_within

    async def compare(self, adapter: str, auditors: Collection[Auditor]) -> tuple[list[Disagreement], Pass]:
        """What the two sides disagree on, and the last pass. Raises Behind, delivery errors, BusUnavailable."""
        last = await self._pass(adapter, auditors)
        if not last.found:
            return [], last
        await asyncio.sleep(self._grace)
        first, last = last.found, await self._pass(adapter, auditors)
        confirmed = []
        for subject, (found, standing) in last.found.items():
            before = first.get(subject)
            if before is not None and before[0].facts == found.facts and await self._holds(found, standing):
                confirmed.append(found)
        return confirmed, last

    async def part(self, case: CaseId, part: str) -> Held | None:
        """An assignment as the ledger has it."""
        folded = await self._ledger.load(case)
        item = folded.state.assignment(part) if folded is not None else None
        return held_of(folded.state, item) if folded is not None and item is not None else None

    async def _pass(self, adapter: str, auditors: Iterable[Auditor]) -> Pass:
        """One pass over both sides. Raises Behind, Unavailable, AdapterFault."""
        await self._caught_up()
        ours = await self._held(adapter)
        tickets = {held.ticket: held for held in ours.values() if held.ticket}
        passed = Pass(ours=len(ours))
        seen: dict[str, Standing] = {}
        for auditor in auditors:
            cursor: str | None = None
            cursors: set[str] = set()
            while True:
                raise_if_cancelled()
                page = await auditor.audit(cursor)
                passed.pages += 1
                passed.theirs += len(page.items)
                await self._page(adapter, page.items, ours, tickets, seen, passed)
                cursor = page.cursor
                if cursor is None:
                    break
                if cursor in cursors or passed.pages >= MOST_PAGES:
                    raise AdapterFault(f"{adapter}: audit does not come to an end", subject=adapter)
                cursors.add(cursor)
        for key, held in ours.items():
            standing = seen.get(key)
            what = between(held, standing)
            if what is not None:
                _add(passed, disagreement(what, held, standing), standing)
            elif standing is not None:
                passed.agreed += 1
        return passed

    async def _page(
        self,
        adapter: str,
        items: Iterable[Standing],
        ours: Mapping[str, Held],
        tickets: Mapping[str, Held],
        seen: dict[str, Standing],
        passed: Pass,
    ) -> None:
        """Match a page: our tickets go to `seen`, nobody's tickets are disagreements."""
        foreign: list[Standing] = []
        for standing in items:
            if standing.key is not None and is_sample(standing.key):
                continue  # a trial's: no case, and nobody's business
            held = ours.get(standing.key) if isinstance(standing.key, str) else None
            held = held or tickets.get(standing.ticket)
            if held is None:
                foreign.append(standing)
                continue
            earlier = seen.setdefault(held.key, standing)
            if earlier.ticket == standing.ticket:
                seen[held.key] = standing
                continue
            if standing.ticket == held.ticket:
                seen[held.key], standing = standing, earlier
            if between(None, standing) is not None:
                _add(passed, disagreement(What.UNKNOWN_HERE, held, standing), standing)
        known = await self._known(foreign)
        for standing in foreign:
            found = known.get(standing.key or "") or known.get(f"#{standing.ticket}")
            if found is None:
                if (what := between(None, standing)) is not None:
                    _add(passed, disagreement(what, None, standing), standing)
            elif found.adapter != adapter:
                passed.elsewhere += 1  # two instances may stand before one system
            else:
                passed.agreed += 1  # ended longer ago than is compared

    async def _known(self, standings: Collection[Standing]) -> dict[str, Held]:
        """Assignments of any age and adapter by delivery key and by `#ticket`."""
        found: dict[str, Held] = {}
        cases = {case for standing in standings if (case := _case_of(standing.key)) is not None}
        names = list(self._adapters())
        for piece in _pieces(sorted(cases)):
            rows = await self._rows(by_adapter.of_cases(piece))
            found |= {held.key: held for held in (_held(*row) for row in rows)}
        for piece in _pieces(sorted({standing.ticket for standing in standings})):
            rows = await self._rows(by_adapter.of_tickets(names, piece))
            found |= {f"#{held.ticket}": held for held in (_held(*row) for row in rows)}
        return found

    async def _held(self, adapter: str) -> dict[str, Held]:
        """The hub's assignments of the adapter that are compared, by delivery key."""
        since = micros(self._clock() - self._ended_within)
        found: dict[str, Held] = {}
        after: tuple[str, str] | None = None
        while True:
            rows = await self._rows(by_adapter.held(adapter, since=since, after=after))
            found |= {held.key: held for held in (_held(*row) for row in rows)}
            if len(rows) < by_adapter.MOST_AT_ONCE:
                return found
            after = (rows[-1][0], rows[-1][1])

    async def _caught_up(self) -> None:
        last = await self._ledger.last_sequence()
        if last and not await self._views.wait_for(last, VIEWS_WITHIN):
            raise Behind("the read models are behind the ledger")

    async def _holds(self, found: Disagreement, standing: Standing | None) -> bool:
        """Whether the ledger itself, not only the read models, still disagrees."""
        if found.what is What.UNKNOWN_HERE or found.key is None:
            return True
        held = await self.part(*parse_delivery_key(found.key))
        return held is not None and between(held, standing) is found.what

    async def _rows(self, statement: Select[Any]) -> list[Any]:
        return await self._views.read(lambda connection: list(connection.execute(statement).all()))


def _add(passed: Pass, found: Disagreement, standing: Standing | None) -> None:
    if found.what is not What.UNKNOWN_HERE or len(passed.found) < MOST_UNKNOWN:
        passed.found[found.subject] = (found, standing)


def _held(
    case: str, assignment: str, unit: str, state: str, ticket: str | None, owing: int, changed: int, adapter: str | None
) -> Held:
    return Held(
        case=CaseId(case),
        assignment=assignment,
        unit=unit,
        state=AssignmentState(state),
        open=bool(owing),
        ticket=ticket,
        ended_at=moment(changed),
        adapter=adapter,
    )


def _case_of(key: object) -> CaseId | None:
    try:
        return parse_delivery_key(key)[0] if isinstance(key, str) else None
    except ValueError:
        return None


def _pieces(items: list[str]) -> Iterable[list[str]]:
    return (items[start : start + by_adapter.MOST_AT_ONCE] for start in range(0, len(items), by_adapter.MOST_AT_ONCE))
