"""办结 can be undone for some seconds: until then nobody is told, afterwards it is final."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import httpx
import pytest
from hub_page.desk.courier import Courier
from hub_page.desk.images import check_image
from hub_page.desk.orders import OrderState, Step
from hub_page.desk.outbox import Outbox
from hub_page.desk.store import DeskStore, StepRefused


@pytest.fixture
def patient(desk: Any) -> Any:
    """A desk where 办结 can be undone for 20 s."""
    desk.store.undo_for = 20.0
    return desk


def _resolved(desk: Any, *, progress: bool = False) -> str:
    ticket: str = desk.put_order()
    steps = [Step.ACCEPT, *([Step.PROGRESS] if progress else [])]
    for version, step in enumerate(steps):
        desk.store.take_step(ticket, step, version=version, note="处理中", by="物业")
    desk.store.add_photo(ticket, check_image(desk.png))
    desk.store.take_step(ticket, Step.RESOLVE, version=len(steps), note="已疏通", by="物业")
    return ticket


async def _sent(desk: Any) -> list[str]:
    """What the courier brings to the hub now."""
    got: list[str] = []

    def hub(request: httpx.Request) -> httpx.Response:
        got.append(request.headers["webhook-id"])
        return httpx.Response(204)

    courier = Courier(Outbox(desk.store), url=lambda: "http://hub/hooks/page", secret="s", clock=desk.clock)
    async with httpx.AsyncClient(transport=httpx.MockTransport(hub)) as client:
        await courier.round(client)
    return got


async def test_report_goes_out_when_it_can_no_longer_be_undone(patient: Any) -> None:
    ticket = _resolved(patient)
    assert await _sent(patient) == [f"{ticket}-1"]
    patient.clock.now += 19.9
    assert await _sent(patient) == []
    patient.clock.now += 0.1
    assert await _sent(patient) == [f"{ticket}-2"]
    with pytest.raises(StepRefused):
        patient.store.undo(ticket, version=2)


@pytest.mark.parametrize(("progress", "state"), [(False, OrderState.ACCEPTED), (True, OrderState.IN_PROGRESS)])
async def test_undone_order_stands_as_before_with_its_photos(progress: bool, state: OrderState, patient: Any) -> None:
    ticket = _resolved(patient, progress=progress)
    version = patient.store.order(ticket).version
    assert patient.store.photos(ticket, event=None) == []
    patient.store.undo(ticket, version=version)
    order = patient.store.order(ticket)
    assert (order.state, order.version) == (state, version + 1)
    assert len(patient.store.photos(ticket, event=None)) == 1
    patient.clock.now += 100
    assert f"{ticket}-{version}" not in await _sent(patient)
    patient.store.take_step(ticket, Step.RESOLVE, version=version + 1, note="真的好了", by="物业")
    patient.clock.now += 21
    assert await _sent(patient) == [f"{ticket}-{version + 2}"]


async def test_undo_is_a_button_and_what_was_written_comes_back(patient: Any) -> None:
    ticket = patient.put_order()
    await patient.press(await patient.page(ticket), "/accept")
    asked = await patient.press(await patient.page(ticket), "/resolve", note="写错了的结果")
    assert "20 秒内可以撤销" in asked.text
    await patient.press(asked, "/resolve", confirm="yes")
    patient.clock.now += 8.5
    page = await patient.page(ticket)
    assert "12 秒后上报" in page.text
    assert 'http-equiv="refresh" content="13;url=' in page.text
    answer = await patient.press(page, "/undo")
    assert answer.status_code == 303
    shown = (await patient.http.get(answer.headers["location"])).text
    assert "已撤销办结" in shown
    assert ">写错了的结果</textarea>" in shown
    assert "撤销办结</b>" in shown, "it is in the history"
    again = await patient.press(page, "/undo")
    assert (again.status_code, "已超过可撤销的时间" in again.text) == (409, True)


async def test_undo_too_late_or_by_another_site_does_nothing(patient: Any) -> None:
    ticket = _resolved(patient)
    page = await patient.page(ticket)
    form = await patient.http.post(f"{patient.link()}/orders/{ticket}/undo", data={"form": "2.forged"})
    assert form.status_code == 403
    patient.clock.now += 20
    late = await patient.press(page, "/undo")
    assert (late.status_code, "办结已经上报" in late.text) == (409, True)
    assert "/undo" not in (await patient.page(ticket)).text
    assert patient.store.order(ticket).state is OrderState.RESOLVED


async def test_hub_hears_of_what_can_be_undone_by_no_way(patient: Any) -> None:
    ticket = _resolved(patient)
    patient.clock.now += 10
    standing = (await patient.api("GET", "/orders")).json()["items"][0]
    assert (standing["ticket"], standing["state"]) == (ticket, "in_progress")
    reports = (await patient.api("GET", "/reports")).json()["items"]
    assert [report["kind"] for report in reports] == ["accepted"]
    assert (await patient.api("POST", f"/orders/{ticket}/recall", {})).status_code == 409
    patient.clock.now += 12
    assert (await patient.api("GET", "/orders")).json()["items"][0]["state"] == "resolved"
    reports = (await patient.api("GET", "/reports")).json()["items"]
    assert [report["kind"] for report in reports] == ["accepted", "resolved"]


async def test_without_a_window_there_is_no_undo(desk: Any) -> None:
    ticket = _resolved(desk)
    assert "/undo" not in (await desk.page(ticket)).text
    with pytest.raises(StepRefused):
        desk.store.undo(ticket, version=2)


async def test_reports_the_hub_fetched_are_not_sent_again(desk: Any) -> None:
    ticket = _resolved(desk)
    assert (await desk.api("GET", "/reports")).json() == {"items": [], "more": False}, "the courier comes first"
    desk.clock.now += 3
    first = (await desk.api("GET", "/reports?limit=1")).json()
    assert ([item["id"] for item in first["items"]], first["more"]) == ([f"{ticket}-1"], True)
    second = (await desk.api("GET", f"/reports?limit=1&taken={ticket}-1")).json()
    assert [item["id"] for item in second["items"]] == [f"{ticket}-2"]
    assert await _sent(desk) == [f"{ticket}-2"], "fetched, but not yet stored by the hub"
    assert (await desk.api("GET", f"/reports?taken={ticket}-2")).json()["items"] == []


async def test_report_the_courier_gave_up_can_be_fetched(desk: Any) -> None:
    ticket = _resolved(desk)
    Outbox(desk.store).give_up(f"{ticket}-1", 410)
    assert (await desk.api("GET", "/status")).json() == {"status": "ok", "waiting": 1, "given_up": 1}
    assert [item["id"] for item in (await desk.api("GET", "/reports")).json()["items"]] == [f"{ticket}-1"]


def test_state_of_the_former_property_desk_is_taken_over(tmp_path: Path, desk: Any) -> None:
    ticket = desk.put_order()
    desk.store.take_step(ticket, Step.ACCEPT, version=0, note=None, by="物业")
    link = desk.link()
    db: sqlite3.Connection = desk.store.db
    for change in (
        "ALTER TABLE teams RENAME TO companies",
        "ALTER TABLE orders RENAME COLUMN team TO company",
        "DROP INDEX orders_of_team",
        "CREATE INDEX orders_of_company ON orders (company, open, rank)",
        "ALTER TABLE outbox DROP COLUMN release_at",
    ):
        db.execute(change)
    for _ in range(2):  # also once it has been
        other = DeskStore(tmp_path / "desk", clock=desk.clock)
        found = other.order(ticket)
        assert found is not None
        assert (found.team, found.state, Outbox(other).count()) == ("jinyao", OrderState.ACCEPTED, 1)
        assert [team.name for team, _ in other.teams()] == ["金尧花园物业服务处"]
        other.close()
    assert desk.link() == link
