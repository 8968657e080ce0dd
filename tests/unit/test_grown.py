"""The map that only grows, and what it is for: folding costs the same however long a matter is."""

import time
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from hub.model.actors import SYSTEM
from hub.model.aggregate import Commit, Event, Folded
from hub.model.case import CASE
from hub.model.case.events import CaseReported, ReportAttached
from hub.model.case.state import Case, CaseId, Channel
from hub.model.grown import Grown
from hub.model.records import Source
from tests.unit.fake_rules import GRID

AT = datetime(2026, 3, 2, tzinfo=UTC)
ID = CaseId(f"{GRID}-0123456789abcdef")


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 9), st.integers())))
def test_every_version_stays_what_it_was_whatever_grows_from_it(steps: list[tuple[int, int, int]]) -> None:
    """Each step adds to some earlier version; a plain dict says what must come of it."""
    versions: list[tuple[Grown[int, int], dict[int, int]]] = [(Grown(), {})]
    for before, key, value in steps:
        grown, plain = versions[before % len(versions)]
        versions.append((grown.with_(key, value), plain if key in plain else {**plain, key: value}))
    for grown, plain in versions:
        assert list(grown) == list(plain)
        assert len(grown) == len(plain)
        assert {key: grown.get(key) for key in range(10)} == {key: plain.get(key) for key in range(10)}
        assert [key in grown for key in range(10)] == [key in plain for key in range(10)]


def folding(reports: int) -> float:
    """Seconds to fold a notice with so many reports attached."""
    opened = CaseReported(channel=Channel.HOTLINE, title="停水", text="停水", area=GRID, reported_at=AT)
    attached = [
        ReportAttached(
            channel=Channel.HOTLINE, text="停水", area=GRID, reported_at=AT, source=Source(adapter="hotline", ref=str(n))
        )
        for n in range(reports)
    ]
    folded: Folded[Case] | None = None
    started = time.perf_counter()
    for number, event in enumerate((opened, *attached), 1):
        commit: Commit[Event] = Commit(
            aggregate="case",
            id=ID,
            number=number,
            at=AT,
            command="x",
            command_id=str(number),
            command_digest="",
            actor=SYSTEM,
            policy=1,
            events=(event,),
            previous="" if number == 1 else "d",
        )
        folded = CASE.fold(folded, commit, digest="d", sequence=number)
    took = time.perf_counter() - started
    assert folded is not None
    assert len(folded.state.attached_reports) == reports
    return took


def test_folding_many_attached_reports_takes_no_longer_for_each() -> None:
    few = min(folding(2_000) for _ in range(3))
    many = min(folding(16_000) for _ in range(2))
    assert many < 8 * few * 2.5, "eight times the reports, about eight times the time"
