"""The interface of the desk for the hub, and its callbacks: nothing twice, nothing lost."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from hub_page.desk.courier import SCHEDULE, Courier
from hub_page.desk.images import check_image
from hub_page.desk.orders import Step
from hub_page.desk.outbox import Outbox
from hub_page.desk.store import DeskStore, KeyReused, StepRefused
from hub_page.signing import SignatureWrong, check_signature, signed_headers, webhook
from hypothesis import given
from hypothesis import strategies as st

from hub.testing.kit import PATIENCE

SECRET = "desk-test-secret"


async def test_stranger_is_not_let_in(desk: Any) -> None:
    for secret in ("", "wrong", "desk-test-secret2"):
        assert (await desk.api("GET", "/status", secret=secret)).status_code == 401
    assert (await desk.api("GET", "/status")).status_code == 200


async def test_order_needs_an_idempotency_key(desk: Any) -> None:
    assert (await desk.api("POST", "/orders", desk.body)).status_code == 400


async def test_same_key_files_once_and_other_content_is_told_apart(desk: Any) -> None:
    headers = {"idempotency-key": desk.key}
    first = await desk.api("POST", "/orders", desk.body, headers=headers)
    again = await desk.api("POST", "/orders", desk.body, headers=headers)
    other = await desk.api("POST", "/orders", {**desk.body, "title": "别的"}, headers=headers)
    assert (first.status_code, again.status_code, other.status_code) == (201, 200, 422)
    assert first.json()["ticket"] == again.json()["ticket"]
    assert other.json()["code"] == "idempotency_key_reused"


async def test_former_hub_that_says_company_is_understood(desk: Any) -> None:
    body = {"company" if name == "team" else name: value for name, value in desk.body.items()}
    answer = await desk.api("POST", "/orders", body, headers={"idempotency-key": desk.key})
    assert (answer.status_code, answer.json()["team"]) == (201, "jinyao")


async def test_teams_are_listed_with_the_closed_ones(desk: Any) -> None:
    desk.put_order()
    desk.put_order(key="320113001001001-0123456789abcdef.a2", team={"id": "other", "name": "别家"})
    desk.store.set_closed("other", True)
    assert (await desk.api("GET", "/teams")).json()["items"] == [
        {"id": "jinyao", "name": "金尧花园物业服务处", "closed": False},
        {"id": "other", "name": "别家", "closed": True},
    ]


async def test_orders_are_listed_page_by_page(desk: Any) -> None:
    tickets = [desk.put_order(key=f"320113001001001-0123456789abcdef.a{number}") for number in (1, 2, 3)]
    first = (await desk.api("GET", "/orders?limit=2")).json()
    second = (await desk.api("GET", f"/orders?limit=2&after={first['next']}")).json()
    assert [order["ticket"] for order in (*first["items"], *second["items"])] == tickets
    assert second["next"] is None
    assert first["items"][0]["changed_at"].endswith("+00:00")


async def test_unreadable_order_is_named_without_its_values(desk: Any) -> None:
    answer = await desk.api("POST", "/orders", {**desk.body, "severity": "secret-value"}, headers={"idempotency-key": "k"})
    assert answer.status_code == 422
    assert answer.json() == {"code": "invalid", "reason": "body.severity: literal_error"}


async def test_order_that_is_far_too_large_is_not_read(desk: Any) -> None:
    answer = await desk.api("POST", "/orders", {**desk.body, "text": "长" * 300_000}, headers={"idempotency-key": "k"})
    assert answer.status_code in (400, 413)


async def test_closed_team_takes_no_orders(desk: Any) -> None:
    desk.put_order()
    assert desk.store.set_closed("jinyao", True)
    answer = await desk.api("POST", "/orders", desk.body, headers={"idempotency-key": "k2"})
    assert (answer.status_code, answer.json()["reason"]) == (422, "金尧花园物业服务处已停止接单")


async def test_order_that_was_given_back_is_not_there_to_recall(desk: Any) -> None:
    ticket = desk.put_order()
    desk.store.take_step(ticket, Step.RETURN, version=0, note="不是我们的", by="物业")
    assert (await desk.api("POST", f"/orders/{ticket}/recall", {"reason": "r"})).json()["state"] == "returned"


async def test_resolved_order_can_be_neither_recalled_nor_urged(desk: Any) -> None:
    ticket = desk.put_order()
    desk.store.take_step(ticket, Step.ACCEPT, version=0, note=None, by="物业")
    desk.store.take_step(ticket, Step.RESOLVE, version=1, note="好了", by="物业")
    for what in ("recall", "urge"):
        assert (await desk.api("POST", f"/orders/{ticket}/{what}", {})).status_code == 409


async def test_photo_comes_in_pieces(desk: Any) -> None:
    ticket = desk.put_order()
    desk.store.take_step(ticket, Step.ACCEPT, version=0, note=None, by="物业")
    photo = desk.store.add_photo(ticket, check_image(desk.png))
    pieces = [(await desk.api("GET", f"/photos/{photo}?offset={start}&length=30")).content for start in (0, 30, 60)]
    assert b"".join(pieces) == desk.png
    assert (await desk.api("GET", "/photos/nothing")).status_code == 404
    assert (await desk.api("GET", f"/photos/{photo}", secret="wrong")).status_code == 401


def test_orders_outlive_the_process(tmp_path: Path, desk: Any) -> None:
    ticket = desk.put_order()
    desk.store.take_step(ticket, Step.ACCEPT, version=0, note=None, by="物业")
    with pytest.raises(StepRefused):
        desk.store.take_step(ticket, Step.ACCEPT, version=0, note=None, by="物业")
    other = DeskStore(tmp_path / "desk", clock=desk.clock)
    found = other.order(ticket)
    assert found is not None
    assert (found.state.value, found.version, Outbox(other).count()) == ("accepted", 1, 1)
    with pytest.raises(KeyReused):
        desk.put_order(title="别的")
    other.close()


class Hub:
    """Answers callbacks with what the test says; None: no connection."""

    def __init__(self) -> None:
        self.answers: list[int | None] = []
        self.got: list[dict[str, Any]] = []
        self.ids: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        status = self.answers.pop(0) if self.answers else 204
        self.ids.append(request.headers["webhook-id"])
        if status is None:
            raise httpx.ConnectError("refused", request=request)
        if status < 300:
            self.got.append(json.loads(request.content))
        return httpx.Response(status, headers={"retry-after": "7"} if status == 429 else {})


def _courier(desk: Any, url: Callable[[], str | None] = lambda: "http://hub/hooks/property") -> Courier:
    return Courier(Outbox(desk.store), url=url, secret=SECRET, clock=desk.clock)


async def _round(courier: Courier, hub: Hub) -> None:
    async with httpx.AsyncClient(transport=httpx.MockTransport(hub)) as client:
        await courier.round(client)


async def test_callback_is_tried_again_on_the_published_schedule(desk: Any) -> None:
    ticket = desk.put_order()
    desk.store.take_step(ticket, Step.ACCEPT, version=0, note=None, by="物业")
    courier, hub = _courier(desk), Hub()
    hub.answers = [500] * (len(SCHEDULE) + 1)
    for place, delay in enumerate(SCHEDULE):
        await _round(courier, hub)
        assert len(hub.ids) == place + 1
        desk.clock.now += delay * 0.89
        await _round(courier, hub)
        assert len(hub.ids) == place + 1, "too early"
        desk.clock.now += delay * 0.22
    await _round(courier, hub)
    assert set(hub.ids) == {f"{ticket}-1"}
    assert (len(hub.ids), courier.outbox.count(), courier.outbox.count("given_up")) == (10, 0, 1)
    assert courier.outbox.resend(desk.clock()) == 1
    await _round(courier, hub)
    assert [event["kind"] for event in hub.got] == ["accepted"]


async def test_callbacks_of_one_order_stay_in_order(desk: Any) -> None:
    ticket = desk.put_order()
    other = desk.put_order(key="320113001001001-0123456789abcdef.a2")
    desk.store.take_step(ticket, Step.ACCEPT, version=0, note=None, by="物业")
    desk.store.take_step(ticket, Step.RESOLVE, version=1, note="好了", by="物业")
    courier, hub = _courier(desk), Hub()
    hub.answers = [400]
    await _round(courier, hub)
    assert hub.got == []
    desk.store.take_step(other, Step.ACCEPT, version=0, note=None, by="物业")
    await _round(courier, hub)
    assert [event["id"] for event in hub.got] == [f"{other}-1"], "another order does not wait"
    desk.clock.now += 6
    await _round(courier, hub)
    assert [event["id"] for event in hub.got] == [f"{other}-1", f"{ticket}-1", f"{ticket}-2"]


async def test_everything_goes_out_once_the_hub_is_back(desk: Any) -> None:
    tickets = [desk.put_order(key=f"320113001001001-0123456789abcdef.a{number}") for number in (1, 2, 3)]
    for ticket in tickets:
        desk.store.take_step(ticket, Step.ACCEPT, version=0, note=None, by="物业")
    courier, hub = _courier(desk), Hub()
    for delay in (6, 340, 0):
        hub.answers = [None, 503, 502]
        await _round(courier, hub)
        desk.clock.now += delay
    hub.answers = []
    desk.store.take_step(tickets[0], Step.RETURN, version=1, note="不归我们", by="物业")
    desk.store.take_step(
        desk.put_order(key="320113001001001-0123456789abcdef.a9"), Step.ACCEPT, version=0, note=None, by="物业"
    )
    await _round(courier, hub)
    assert len(hub.got) == 1, "only the new one is due"
    await _round(courier, hub)
    assert len(hub.got) == 5


async def test_hub_that_is_gone_for_good_gets_no_more(desk: Any) -> None:
    desk.store.take_step(desk.put_order(), Step.ACCEPT, version=0, note=None, by="物业")
    courier, hub = _courier(desk), Hub()
    hub.answers = [410]
    await _round(courier, hub)
    assert (courier.outbox.count(), courier.outbox.count("given_up")) == (0, 1)


async def test_retry_after_is_kept(desk: Any) -> None:
    desk.store.take_step(desk.put_order(), Step.ACCEPT, version=0, note=None, by="物业")
    courier, hub = _courier(desk), Hub()
    hub.answers = [429]
    await _round(courier, hub)
    next_at = courier.outbox.next_at()
    assert next_at is not None
    assert next_at >= desk.clock() + 7


async def test_without_an_address_callbacks_wait(desk: Any) -> None:
    desk.store.take_step(desk.put_order(), Step.ACCEPT, version=0, note=None, by="物业")
    hub = Hub()
    await _round(_courier(desk, lambda: None), hub)
    assert (hub.ids, Outbox(desk.store).count()) == ([], 1)


BODY = b'{"id":"WY1-1"}'


def test_signature_holds_for_its_body_only() -> None:
    hook = webhook(SECRET)
    headers = signed_headers(hook, "WY1-1", BODY, now=time.time())
    assert check_signature([hook], headers, BODY) == "WY1-1"
    for forged in (
        (headers, BODY + b" "),
        ({**headers, "webhook-id": "WY1-2"}, BODY),
        ({**headers, "webhook-signature": "v1"}, BODY),
        ({**headers, "webhook-signature": "v1,===="}, BODY),
        ({**headers, "webhook-signature": "v1,不是"}, BODY),
        ({**headers, "webhook-timestamp": "soon"}, BODY),
        (headers, b"\xff\xfe"),
        ({}, BODY),
    ):
        with pytest.raises(SignatureWrong):
            check_signature([hook], *forged)


@given(st.text(), st.text(), st.binary(max_size=50))
def test_no_signature_header_breaks_the_check(timestamp: str, signature: str, body: bytes) -> None:
    with pytest.raises(SignatureWrong):
        check_signature(
            [webhook(SECRET)], {"webhook-id": "x", "webhook-timestamp": timestamp, "webhook-signature": signature}, body
        )


async def test_courier_that_is_woken_sends_at_once(desk: Any) -> None:
    sent = asyncio.Event()

    class Eager(Courier):
        async def send(self, client: httpx.AsyncClient, callback: Any) -> bool:
            self.outbox.sent(callback.id)
            sent.set()
            return True

    courier = Eager(Outbox(desk.store), url=lambda: "http://hub/hooks", secret=SECRET, clock=desk.clock)
    task = asyncio.create_task(courier.run())
    await asyncio.sleep(0)
    desk.store.take_step(desk.put_order(), Step.ACCEPT, version=0, note=None, by="物业")
    courier.wake()
    await asyncio.wait_for(sent.wait(), timeout=PATIENCE)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
