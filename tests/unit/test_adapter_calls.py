"""Calls into a plugin: bounded in time, and whatever it throws or returns stays at the border."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from hub.contract import (
    Audit,
    CallbackRejected,
    Contact,
    Feedback,
    FeedbackKind,
    IncomingCase,
    Poll,
    Receipt,
    ReportedFile,
    Standing,
    StandingState,
)
from hub.errors import AdapterFault, Refused
from hub.model.case.state import Channel
from hub.platform.adapters import soundness
from hub.platform.adapters.calls import Calls, TookTooLong
from hub.platform.adapters.rates import Rate
from hub.platform.adapters.watchdog import Watchdog
from hub.testing.kit import eventually

NOW = datetime(2026, 3, 2, 15, tzinfo=UTC)


async def thrown(problem: BaseException) -> None:
    raise problem


@pytest.mark.parametrize(
    "problem",
    [
        ValueError("x"),
        SystemExit(3),
        KeyboardInterrupt(),
        GeneratorExit(),
        asyncio.CancelledError(),
        RecursionError(),
        MemoryError(),
    ],
    ids=lambda problem: type(problem).__name__,
)
async def test_whatever_a_plugin_throws_is_a_fault_and_ends_nothing_else(problem: BaseException) -> None:
    with pytest.raises(AdapterFault):
        await Calls("x").call("deliver", thrown(problem), within=5)
    assert asyncio.current_task() is not None


@pytest.mark.parametrize("problem", [Refused("no"), CallbackRejected("no")], ids=["refused", "rejected"])
async def test_what_the_contract_lets_a_plugin_throw_comes_through(problem: Exception) -> None:
    with pytest.raises(type(problem)):
        await Calls("x").call("deliver", thrown(problem), within=5)


@pytest.mark.parametrize("problem", [Refused("不收\ud83d"), ValueError("不收\ud83d")], ids=["refused", "fault"])
async def test_what_a_plugin_says_of_a_failure_is_text_that_can_be_stored(problem: Exception) -> None:
    with pytest.raises((Refused, AdapterFault)) as caught:
        await Calls("x").call("deliver", thrown(problem), within=5)
    assert caught.value.message.encode().decode().endswith("不收?")


async def test_a_text_that_can_not_be_made_is_not_needed() -> None:
    class Nasty(Exception):
        def __str__(self) -> str:
            raise ValueError("no text for you")

    with pytest.raises(AdapterFault, match="Nasty"):
        await Calls("x").call("deliver", thrown(Nasty()), within=5)


async def test_a_call_that_takes_too_long_is_cancelled() -> None:
    ended: list[str] = []

    async def slow() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("cancelled")

    calls = Calls("x")
    with pytest.raises(TookTooLong):
        await calls.call("deliver", slow(), within=0.05)
    assert ended == ["cancelled"]
    assert calls.active == 0


async def test_a_call_that_ignores_its_cancellation_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hub.platform.adapters.calls.GRACE", 0.05)
    let_go = asyncio.Event()

    async def stubborn() -> None:
        while not let_go.is_set():
            try:
                await let_go.wait()
            except asyncio.CancelledError:
                continue

    calls = Calls("x")
    with pytest.raises(TookTooLong):
        await calls.call("deliver", stubborn(), within=0.05)
    assert calls.strays == 1
    let_go.set()
    async with asyncio.timeout(5):
        while calls.strays:
            await asyncio.sleep(0.01)


async def test_cancelling_the_caller_cancels_the_call() -> None:
    ended = asyncio.Event()

    async def slow() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    calls = Calls("x")
    caller = asyncio.create_task(calls.call("deliver", slow(), within=60))
    async with asyncio.timeout(5):
        while not calls.active:
            await asyncio.sleep(0.01)
        caller.cancel()
        await asyncio.gather(caller, return_exceptions=True)
        await ended.wait()
    assert caller.cancelled()


def report(**changes: Any) -> Feedback:
    return Feedback(**{"id": "1", "kind": FeedbackKind.PROGRESS, "key": "k", "at": NOW} | changes)


def case(**changes: Any) -> IncomingCase:
    return IncomingCase(**{"ref": "1", "channel": Channel.HOTLINE, "title": "t", "text": "x", "reported_at": NOW} | changes)


def standing(**changes: Any) -> Standing:
    return Standing(**{"ticket": "T", "state": StandingState.FILED} | changes)


def audit(found: object) -> Audit:
    return soundness.audit(found, NOW)


@pytest.mark.parametrize(
    ("check", "value", "says"),
    [
        (soundness.receipt, None, "Receipt"),
        (soundness.receipt, "T-1", "Receipt"),
        (soundness.receipt, Receipt(ticket=" "), "ticket: .* matching"),
        (soundness.receipt, Receipt(ticket="x" * 201), "ticket: .* length <= 200"),
        (soundness.receipt, Receipt(ticket="a\nb"), "ticket: .* matching"),
        (soundness.receipt, Receipt(ticket="a\n"), "ticket: .* matching"),
        (soundness.receipt, Receipt(ticket=7), "ticket: .* got `int`"),  # type: ignore[arg-type]
        (soundness.items, (x for x in ()), "a list is expected"),
        (soundness.items, [None] * 10_001, "at most 10000"),
        (soundness.poll, [], "a Poll"),
        (soundness.poll, Poll(items=iter(()), cursor=None), "a list is expected"),  # type: ignore[arg-type]
        (audit, Audit(items=["x"]), "items\\[0\\]: .*got `str`"),  # type: ignore[list-item]
        (audit, Audit(items=[standing(key=7)]), "items\\[0\\].key: .* got `int`"),
        (audit, Audit(items=[standing(at=NOW + timedelta(days=2))]), "too far from now"),
        (audit, Audit(items=[], cursor="x" * 10_001), "cursor: .* length <= 10000"),
        (soundness.receipt, Receipt(ticket="T\ud800"), "no text"),
        (soundness.catalogue, {"a": 1}, "got `int`"),
        (soundness.catalogue, ["a"], "mapping"),
    ],
)
def test_rubbish_is_named(check: Callable[[object], object], value: object, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        check(value)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (object(), "Feedback or an IncomingCase"),
        (report(id=""), "id: .* length >= 1"),
        (report(id=" "), "id: .* matching"),
        (report(id=None), "id: .* got `null`"),
        (report(kind="done"), "kind: Invalid enum value"),
        (report(note=b"x"), "note: .* got `bytes`"),
        (report(at="2026-01-01T08:00:00Z"), "at: .* got `str`"),
        (report(at=NOW.replace(tzinfo=None)), "at: .* timezone"),
        (report(at=NOW + timedelta(days=2)), "too far from now"),
        (report(at=NOW - timedelta(days=4000)), "too far from now"),
        (report(files=[object()]), "files\\[0\\] is a object"),
        (report(files=(ReportedFile(name="a", media_type="b", content="c"),)), "files\\[0\\].content: .* got `str`"),  # type: ignore[arg-type]
        (report(rating="5"), "rating: .* got `str`"),
        (report(rating=0), "rating: .* >= 1"),
        (report(rating=True), "rating: .* got `bool`"),
        (report(reached=True), "reached: .* got `bool`: one of yes, no, refused"),
        (report(reached="maybe"), "reached: Invalid enum value 'maybe': one of yes, no, refused"),
        (report(solved=1), "solved: .* got `int`: one of yes, partly, no, not_asked"),
        (report(tries=0), "tries: .* >= 1"),
        (report(satisfied=[]), "satisfied: .* got `array`"),
        (report(note="张\ud83d"), "note holds characters that are no text"),
        (report(note="a\x00b"), "note holds characters that are no text"),
        (case(ref=""), "ref: .* length >= 1"),
        (case(channel="smoke signals"), "channel: Invalid enum value"),
        (case(title=None), "title: .* got `null`"),
        (case(contact={"phone": "1"}), "contact is a dict"),
        (case(contact=Contact(phone=13800001234)), "contact.phone: .* got `int`"),  # type: ignore[arg-type]
        (case(contact=Contact(name="x" * 501)), "contact.name: .* length <= 500"),
        (case(severity="dire"), "severity: Invalid enum value"),
        (case(covers="320113"), "covers: .* got `str`"),
        (case(covers=["320113"] * 101), "covers: .* length <= 100"),
        (case(reported_at=datetime.max.replace(tzinfo=UTC)), "too far"),
    ],
)
def test_a_wrong_item_is_named(value: object, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        soundness.item(value, NOW)


def test_what_is_sound_comes_through() -> None:
    assert soundness.item(report(files=(ReportedFile(name="a", media_type="b", content=b"c"),)), NOW).files  # type: ignore[union-attr]
    assert soundness.item(case(covers=("320113",), covers_until=NOW + timedelta(days=30)), NOW)
    assert soundness.receipt(Receipt(ticket="T-1")).ticket == "T-1"
    assert audit(Audit(items=(standing(key="k", at=NOW),)))


class Mined(str):
    """Text that runs the plugin's code wherever it is looked at."""

    def _goes_off(self, *_: object) -> Any:
        raise AssertionError("the plugin's code ran")

    __str__ = __len__ = __eq__ = __iter__ = __contains__ = __format__ = strip = encode = _goes_off  # type: ignore[assignment]
    __hash__ = str.__hash__


class Late(datetime):
    """A time that runs the plugin's code wherever it is looked at."""

    def _goes_off(self, *_: object) -> Any:
        raise AssertionError("the plugin's code ran")

    __lt__ = __le__ = __gt__ = __ge__ = __add__ = utcoffset = isoformat = replace = _goes_off


def test_a_subclass_of_text_or_time_becomes_plain_without_a_step_of_its_code() -> None:
    at = Late(2026, 3, 2, 14, tzinfo=UTC)
    found = soundness.item(report(note=Mined("到场"), by=Mined("值班室"), at=at), NOW)
    assert isinstance(found, Feedback)
    assert [type(value) for value in (found.note, found.by, found.at)] == [str, str, datetime]
    assert found == report(note="到场", by="值班室", at=NOW - timedelta(hours=1))


def test_a_rate_lets_a_burst_through_and_then_one_after_another() -> None:
    now = [0.0]
    rate = Rate(10, 5, lambda: now[0])
    assert [rate.wait() for _ in range(7)] == pytest.approx([0, 0, 0, 0, 0, 0.1, 0.2])
    now[0] = 100.0
    assert rate.admit(5) == 0
    assert rate.admit() > 0
    now[0] = 100.2
    assert rate.admit() == 0


async def _spin(seconds: float) -> str:
    """Holds the loop up, as a plugin must not."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass
    return "done"


async def test_the_watchdog_names_who_holds_the_loop_up_and_throws_nothing_into_the_step() -> None:
    told: list[tuple[str, float]] = []
    gave_up: list[str] = []
    watchdog = Watchdog(
        asyncio.get_running_loop(), lambda name, seconds: told.append((name, seconds)), gave_up.append, limit=0.1
    )
    watchdog.start()
    try:
        assert await Calls("spinner").call("poll", _spin(4.0), within=30) == "done"
        await eventually(lambda: told)
    finally:
        watchdog.stop()
    assert told[0][0] == "spinner"
    assert told[0][1] > 3.5
    assert gave_up == []


async def test_the_watchdog_gives_up_once_on_a_step_that_does_not_end() -> None:
    gave_up: list[str] = []
    watchdog = Watchdog(asyncio.get_running_loop(), lambda *_: None, gave_up.append, limit=0.05, give_up_after=0.2)
    watchdog.start()
    try:
        await Calls("sleeper").call("deliver", _spin(0.8), within=30)
    finally:
        watchdog.stop()
    assert gave_up == ["sleeper"]


async def test_the_watchdog_does_not_give_up_on_short_steps_one_after_another() -> None:
    gave_up: list[str] = []
    told: list[str] = []
    watchdog = Watchdog(
        asyncio.get_running_loop(), lambda name, _: told.append(name), gave_up.append, limit=0.05, give_up_after=0.6
    )
    watchdog.start()
    try:
        await asyncio.gather(*(Calls(f"p{number}").call("deliver", _spin(0.3), within=30) for number in range(4)))
        await eventually(lambda: told)
    finally:
        watchdog.stop()
    assert gave_up == []
