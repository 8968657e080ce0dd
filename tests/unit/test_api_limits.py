"""Bodies that trickle in are given up, and limits know who sends."""

import asyncio
import json

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hub.surfaces.api.limits import Allowance, BodyLimit, address_of

SCOPE: Scope = {"type": "http", "method": "POST", "path": "/api/v1/cases", "headers": [], "query_string": b""}


async def reads_all(scope: Scope, receive: Receive, send: Send) -> None:
    body = await Request(scope, receive).body()
    assert await receive() == {"type": "http.disconnect"}
    await PlainTextResponse(str(len(body)))(scope, receive, send)


async def takes_all_faults_for_its_own(scope: Scope, receive: Receive, send: Send) -> None:
    try:
        await reads_all(scope, receive, send)
    except Exception:
        await PlainTextResponse("fault", 500)(scope, receive, send)
        raise


async def asked(parts: list[bytes], *, ends: bool, app: ASGIApp = reads_all) -> tuple[int, bytes]:
    """Status and body of the answer to a request that sends `parts` and then ends, or stays silent."""
    sent: list[Message] = []
    waiting = list(parts)

    async def receive() -> Message:
        if waiting:
            part = waiting.pop(0)
            return {"type": "http.request", "body": part, "more_body": bool(waiting) or not ends}
        if ends:
            await asyncio.sleep(0.1)  # longer than a body may take: what comes behind a whole one is not bounded
            return {"type": "http.disconnect"}
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    await BodyLimit(app, 1000, within=0.05)(SCOPE, receive, send)
    return sent[0]["status"], sent[1]["body"]


async def test_body_that_does_not_arrive_is_given_up() -> None:
    status, body = await asked([b"a", b"b"], ends=False)
    assert status == 408
    assert json.loads(body)["type"] == "urn:hub:problem:too-slow"


async def test_whole_body_is_waited_for_no_longer() -> None:
    assert await asked([b"a", b"bc"], ends=True) == (200, b"3")


@pytest.mark.parametrize(("parts", "status"), [([b"a" * 900, b"a" * 900], 413), ([b"a", b"b"], 408)])
async def test_an_application_that_takes_it_for_its_own_fault_does_not_answer_instead(parts: list[bytes], status: int) -> None:
    assert (await asked(parts, ends=False, app=takes_all_faults_for_its_own))[0] == status


def test_allowance_refills_steadily_for_each_name() -> None:
    now = [0.0]
    allowance = Allowance(2, lambda: now[0])
    assert [allowance.take("a"), allowance.take("a")] == [0.0, 0.0]
    assert allowance.take("a") == pytest.approx(30.0)
    assert allowance.take("b") == 0.0
    now[0] = 31.0
    assert allowance.take("a") == 0.0


@pytest.mark.parametrize(
    ("host", "same"),
    [("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::1"), ("192.0.2.7", "192.0.2.7"), ("::ffff:192.0.2.7", "::ffff:192.0.2.7")],
)
def test_one_customer_is_one_sender(host: str, same: str) -> None:
    assert address_of({"client": (host, 1)}) == address_of({"client": (same, 2)})
    assert address_of({"client": (host, 1)}) != address_of({"client": ("2001:db8:9::1", 1)})
    assert address_of({}) == "address "
