"""What only the hotline does: it brings orders in, is told how they stand, and asks callers back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hub_hotline import HotlineAdapter
from hub_hotline.messages import OrderVisited
from hub_hotline.signing import EVENT, SIGNATURE, TIMESTAMP, callback_signature
from hub_hotline.simulator import adapter_settings
from msgspec.structs import replace

from hub import (
    CallbackRejected,
    CallbackRequest,
    Channel,
    Feedback,
    FeedbackKind,
    How,
    IncomingCase,
    Notice,
    Position,
    Reached,
    Refused,
    Satisfied,
    Severity,
    Solved,
)
from hub.contract import Adapter, Crosswalk, WordTable
from hub.testing.kit import Inbox, eventually, open_inbox, running_adapter
from hub.testing.process import SimulatorProcess

SECRET = "hotline-test-secret"
ORDER = {
    "title": "楼下烧烤摊夜间噪音扰民",
    "text": "每晚十一点以后仍在营业，油烟和噪音很大。",
    "place_name": "尧化街道",
    "place": "尧佳路7号",
    "contact": {"name": "张三", "phone": "13800001234", "address": "尧佳路7号3幢201"},
    "reported_at": "2024-05-06T23:40:00+08:00",
}


@pytest.fixture
def hotline(tmp_path: Path) -> Iterator[SimulatorProcess]:
    options = ("--pace", "0.05", "--reached", "1", "--satisfied", "1")
    with SimulatorProcess("hub_hotline.simulator", tmp_path / "hotline", secret=SECRET, options=options) as process:
        yield process


@pytest.fixture
async def inbox(hotline: SimulatorProcess) -> AsyncIterator[Inbox]:
    async with open_inbox() as inbox:
        hotline.call_back_to(inbox.url)
        async with running_adapter(HotlineAdapter, adapter_settings(hotline.url, SECRET), timeout=5) as adapter:
            inbox.adapter = adapter
            yield inbox


def _adapter(inbox: Inbox) -> Adapter:
    assert inbox.adapter is not None
    return inbox.adapter


def _notice(ref: str, stage: str, minute: int = 0) -> Notice:
    at = datetime(2024, 5, 7, 1, minute, tzinfo=UTC)
    return Notice(case="320113001000000-0123456789", ref=ref, stage=stage, text="已劝离摊主，现场恢复安静。", at=at)


def _put_in(hotline: SimulatorProcess, **changes: Any) -> str:
    return str(hotline.control("POST", "/_sim/orders", {**ORDER, **changes})["order"])


def _visits(inbox: Inbox) -> list[Feedback]:
    return [item for item in inbox.items if isinstance(item, Feedback) and item.kind is FeedbackKind.VISITED]


async def test_new_order_comes_as_a_case_with_its_caller(hotline: SimulatorProcess, inbox: Inbox) -> None:
    number = _put_in(hotline, urgency="特急")
    await eventually(lambda: bool(inbox.items))
    case = inbox.items[0]
    assert isinstance(case, IncomingCase)
    assert (case.ref, case.channel, case.place_name, case.severity) == (number, Channel.HOTLINE, "尧化街道", Severity.URGENT)
    assert case.contact is not None
    assert case.contact.phone == "13800001234"
    assert case.reported_at == datetime(2024, 5, 6, 15, 40, tzinfo=UTC)


async def test_an_order_says_where_it_is_in_the_hotlines_own_system(hotline: SimulatorProcess, inbox: Inbox) -> None:
    _put_in(hotline, spot={"longitude": 118.9175, "latitude": 32.1009, "system": "bd09", "geocoded": True})
    await eventually(lambda: bool(inbox.items))
    (case,) = inbox.items
    assert isinstance(case, IncomingCase)
    assert case.position == Position(longitude=118.9175, latitude=32.1009, system="bd09", how=How.GEOCODED)


async def test_order_put_in_twice_under_one_ref_comes_once(hotline: SimulatorProcess, inbox: Inbox) -> None:
    assert _put_in(hotline, ref="GD1") == _put_in(hotline, ref="GD1") == "GD1"
    _put_in(hotline, ref="GD2")
    await eventually(lambda: {item.ref for item in inbox.items if isinstance(item, IncomingCase)} == {"GD1", "GD2"})
    assert [item["order"] for item in hotline.control("GET", "/_sim/orders")["orders"]] == ["GD1", "GD2"]


async def test_order_whose_callback_is_not_confirmed_comes_by_poll(hotline: SimulatorProcess, inbox: Inbox) -> None:
    adapter, inbox.adapter = _adapter(inbox), None
    number = _put_in(hotline)
    poll = await adapter.poll(None)
    assert [item.ref for item in poll.items if isinstance(item, IncomingCase)] == [number]
    inbox.adapter = adapter
    await eventually(lambda: len(inbox.items) == 1)
    await eventually(lambda: hotline.control("GET", "/_sim/state")["unsent_callbacks"] == 0)
    assert (await adapter.poll(None)).items == [], "what was confirmed is not polled again"


async def test_callback_goes_out_after_the_hotline_was_killed(hotline: SimulatorProcess, inbox: Inbox) -> None:
    adapter, inbox.adapter = _adapter(inbox), None
    number = _put_in(hotline)
    hotline.kill()
    inbox.adapter = adapter
    hotline.start()
    await eventually(lambda: bool(inbox.items))
    # at-least-once: killed after sending and before noting it, the simulator sends again
    assert {item.ref for item in inbox.items if isinstance(item, IncomingCase)} == {number}


async def test_caller_is_asked_after_the_result_and_the_order_closes(hotline: SimulatorProcess, inbox: Inbox) -> None:
    number = _put_in(hotline)
    for stage in ("taken", "resolved", "resolved"):
        await _adapter(inbox).inform(_notice(number, stage))
    await eventually(lambda: bool(_visits(inbox)))
    visit = _visits(inbox)[0]
    assert (visit.ticket, visit.key, visit.reached, visit.tries) == (number, None, Reached.YES, 1)
    assert (visit.solved, visit.satisfied in (Satisfied.YES, Satisfied.MOSTLY)) == (Solved.YES, True)
    await _adapter(inbox).inform(replace(_notice(number, "closed"), reply="已劝导商户收摊"))
    order = hotline.control("GET", "/_sim/orders")["orders"][0]
    assert (order["state"], order["reply"]) == ("closed", "已劝导商户收摊")
    assert len(_visits(inbox)) == 1, "told the same twice, the caller is asked once"


async def test_discontent_caller_is_asked_again_after_the_second_result(hotline: SimulatorProcess, inbox: Inbox) -> None:
    number = _put_in(hotline, satisfied=["不满意", "基本满意"])
    await _adapter(inbox).inform(_notice(number, "resolved", 0))
    await eventually(lambda: len(_visits(inbox)) == 1)
    await _adapter(inbox).inform(_notice(number, "reopened", 1))
    await _adapter(inbox).inform(_notice(number, "resolved", 2))
    await eventually(lambda: len(_visits(inbox)) == 2)
    assert [visit.satisfied for visit in _visits(inbox)] == [Satisfied.NO, Satisfied.MOSTLY]
    assert len({visit.id for visit in _visits(inbox)}) == 2


async def test_the_hotlines_words_are_read_and_one_nobody_knows_is_told(inbox: Inbox) -> None:
    told: list[tuple[str, str, str | None]] = []
    words = WordTable(Crosswalk(satisfied={"比较满意": Satisfied.MOSTLY}), lambda *said: told.append(said))
    event = {"event": "order.visited", "event_id": "e1", "order": "GD1", "at": "2024-05-07T09:00:00+08:00"}

    def read(**said: object) -> Feedback:
        return OrderVisited.model_validate(event | said).item(words)

    partly = read(result="接通", tries=2, solved="部分解决", satisfied="比较满意")
    assert (partly.reached, partly.tries, partly.solved, partly.satisfied) == (Reached.YES, 2, Solved.PARTLY, Satisfied.MOSTLY)
    assert read(result="拒访").reached is Reached.REFUSED
    assert told == []
    assert read(result="接通", satisfied="凑合").satisfied is None
    assert told == [("satisfied", "凑合", "GD1")]


async def test_late_word_does_not_move_an_order_back_but_a_new_one_reopens_it(hotline: SimulatorProcess, inbox: Inbox) -> None:
    def state() -> str:
        return str(hotline.control("GET", "/_sim/orders")["orders"][0]["state"])

    number = _put_in(hotline)
    heard = []
    for stage, minute in (("resolved", 5), ("taken", 1), ("closed", 6), ("resolved", 7), ("reopened", 4), ("reopened", 8)):
        await _adapter(inbox).inform(_notice(number, stage, minute))
        heard.append(state())
    assert heard == ["resolved", "resolved", "closed", "closed", "closed", "reopened"]


async def test_standing_of_an_unknown_order_is_refused(inbox: Inbox) -> None:
    with pytest.raises(Refused, match="工单不存在"):
        await _adapter(inbox).inform(_notice("GD404", "closed"))


async def test_signed_callback_that_cannot_be_read_is_a_bad_request_without_its_values(inbox: Inbox) -> None:
    body = '{"event": "order.created", "event_id": "e1", "order": "GD1", "title": "张三来电"}'.encode()
    timestamp = int(datetime.now(UTC).timestamp())
    headers = {EVENT: "e1", TIMESTAMP: str(timestamp), SIGNATURE: callback_signature(SECRET, "e1", timestamp, body)}
    request = CallbackRequest(method="POST", path="", headers=headers, query={}, body=body)
    with pytest.raises(CallbackRejected) as rejection:
        await _adapter(inbox).parse_callback(request)
    assert rejection.value.status == 400
    assert "张三" not in rejection.value.reason
    with pytest.raises(CallbackRejected) as forged:
        await _adapter(inbox).parse_callback(replace(request, headers={**headers, SIGNATURE: "sha256=é"}))
    assert forged.value.status == 401


async def test_people_decide_the_same_for_the_same_seed(tmp_path: Path) -> None:
    answers = []
    for run in ("one", "two"):
        options = ("--pace", "0.02", "--satisfied", "0.5", "--seed", "7")
        with SimulatorProcess("hub_hotline.simulator", tmp_path / run, secret=SECRET, options=options) as hotline:
            async with (
                open_inbox() as inbox,
                running_adapter(HotlineAdapter, adapter_settings(hotline.url, SECRET), timeout=5) as adapter,
            ):
                inbox.adapter = adapter
                hotline.call_back_to(inbox.url)
                for number in range(8):
                    _put_in(hotline, ref=f"GD{number}")
                    await adapter.inform(_notice(f"GD{number}", "resolved"))
                await eventually(lambda inbox=inbox: len({v.ticket for v in _visits(inbox)}) == 8)  # type: ignore[misc]
                answers.append(
                    {visit.id: (visit.satisfied, visit.rating) for visit in _visits(inbox) if visit.id.endswith("-1")}
                )
    assert answers[0] == answers[1]
    assert {satisfied for satisfied, _ in answers[0].values()} == {Satisfied.YES, Satisfied.MOSTLY, Satisfied.NO}
