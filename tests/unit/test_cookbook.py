"""The recipes of docs/plugins/cookbook.md do what they say."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from hub import AdapterFault, CredentialsRejected, OutcomeUnknown, Receipt, Refused, Unavailable
from hub.platform.adapters.mounts import configured
from hub.platform.adapters.outbound import departmental_client
from tests.unit.api_world import World

COOKBOOK = Path(__file__).resolve().parents[2] / "docs" / "plugins" / "cookbook.md"
URL = "http://department.example"


def recipe(name: str) -> Any:
    """The names of a block that begins with `# recipes/<name>.py`."""
    found = re.search(rf"^```python\n(# recipes/{name}\.py\n.*?)^```$", COOKBOOK.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert found is not None, name
    module = ModuleType(name)
    exec(compile(found[1], f"{name}.py", "exec"), vars(module))
    return module


def client(answer: Callable[[httpx.Request], httpx.Response]) -> httpx.AsyncClient:
    """The hub's client with a department that answers so."""

    async def answered(request: httpx.Request) -> httpx.Response:
        given = answer(request)
        return httpx.Response(given.status_code, headers=given.headers, stream=httpx.ByteStream(given.content))

    return departmental_client("recipe", timeout=1.0, transport=httpx.MockTransport(answered))


async def test_token_is_fetched_once_and_renewed_once_when_refused() -> None:
    oauth, granted, valid = recipe("oauth2"), 0, {"t1"}

    def answer(request: httpx.Request) -> httpx.Response:
        nonlocal granted
        if request.url.path == "/token":
            granted += 1
            return httpx.Response(200, json={"access_token": f"t{granted}", "expires_in": 3600})
        known = request.headers["authorization"].removeprefix("Bearer ") in valid
        return httpx.Response(200 if known else 401)

    async with client(answer) as http:
        tokens = oauth.Tokens(http, f"{URL}/token", "hub", SecretStr("x"))
        for _ in range(3):
            assert (await oauth.ask(http, tokens, "GET", f"{URL}/orders")).status_code == 200
        assert granted == 1
        valid.clear()
        valid.add("t2")
        assert (await oauth.ask(http, tokens, "GET", f"{URL}/orders")).status_code == 200
        assert granted == 2
        valid.clear()
        with pytest.raises(CredentialsRejected):
            await oauth.ask(http, tokens, "GET", f"{URL}/orders")


async def test_token_endpoint_that_gives_no_token_is_told_apart() -> None:
    oauth = recipe("oauth2")
    for answer, error in ((httpx.Response(400), CredentialsRejected), (httpx.Response(200, text="hello"), AdapterFault)):
        async with client(lambda request, answer=answer: answer) as http:  # type: ignore[misc]
            with pytest.raises(error):
                await oauth.Tokens(http, f"{URL}/token", "hub", SecretStr("x")).get()


def test_cursor_of_two_lists_is_read_as_it_was_written() -> None:
    cursors = recipe("cursors")
    assert cursors.parsed(None) == (0, 0)
    assert cursors.parsed(cursors.written(7, 12)) == (7, 12)
    with pytest.raises(AdapterFault):
        cursors.parsed("7")


@pytest.mark.parametrize("ranges", [True, False])
async def test_large_file_comes_whole_or_not_at_all(ranges: bool) -> None:
    pieces, content = recipe("pieces"), bytes(range(256)) * 16384
    content = content if not ranges else content + content[:1000]

    def answer(request: httpx.Request) -> httpx.Response:
        if not ranges:
            return httpx.Response(200, content=content)
        first, _, last = request.headers["range"].removeprefix("bytes=").partition("-")
        return httpx.Response(206, content=content[int(first) : int(last) + 1])

    digest = hashlib.sha256(content).hexdigest()
    async with client(answer) as http:
        assert await pieces.fetched(http, f"{URL}/f", size=len(content), sha256=digest) == content
        with pytest.raises(Unavailable):
            await pieces.fetched(http, f"{URL}/f", size=len(content), sha256="0" * 64)
        with pytest.raises(AdapterFault):
            await pieces.fetched(http, f"{URL}/f", size=11 * 1024 * 1024, sha256=digest)


def test_budget_that_is_spent_says_how_long_to_wait() -> None:
    budget = recipe("budget").Budget()
    budget.spend()
    budget.note(httpx.Headers({"RateLimit": '"default";r=0;t=30'}))
    with pytest.raises(Unavailable) as held:
        budget.spend()
    assert timedelta(seconds=29) < (held.value.retry_after or timedelta(0)) <= timedelta(seconds=30)


async def test_page_escapes_what_it_shows() -> None:
    pages = recipe("pages")
    pages.CREWS["<b>"] = "x"
    (page,) = pages.hub_console_pages()
    assert "&lt;b&gt;" in await page.render()


async def test_mini_program_reports_once_and_sees_what_became_of_it(tmp_path: Path) -> None:
    (mount,) = recipe("routes").hub_routes()
    async with World.make(tmp_path, mounts=configured([mount], {"mini": {"per_minute": 2}})) as world:
        key = {"x-api-key": world.secrets["street"]}

        async def send(said: object, headers: dict[str, str] = key) -> httpx.Response:
            return await world.client.post("http://hub/mini/reports", json=said, headers=headers)

        told = {"id": "1", "person": "p", "text": "路灯不亮", "place": "尧佳路7号"}
        case = (await send(told)).json()["case"]
        assert (await send(told)).json()["case"] == case
        assert (await send(told)).status_code == 429
        shown = await world.client.get(f"http://hub/mini/reports/{case}", headers=key)
        assert shown.json() == {"case": case, "stage": "held", "said": "已受理，正在核查处理。"}
        assert (await send({"id": 1})).json()["errors"][0]["field"] == "body"
        assert (await send(told, {})).status_code == 404


async def test_receipt_in_two_steps_is_a_ticket_a_refusal_or_unknown() -> None:
    steps = recipe("two_steps")
    steps.WAIT = (0.0,) * 4
    said: list[dict[str, str]] = []
    async with client(lambda request: httpx.Response(200, json=said.pop(0))) as http:
        said += [{"state": "working"}, {"state": "done", "ticket": "T1"}]
        assert await steps.settled(http, f"{URL}/job") == Receipt(ticket="T1")
        said += [{"state": "refused", "reason": "不归我管"}]
        with pytest.raises(Refused, match="不归我管"):
            await steps.settled(http, f"{URL}/job")
        said += [{"state": "working"}] * 4
        with pytest.raises(OutcomeUnknown):
            await steps.settled(http, f"{URL}/job")


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("soap:Server", Unavailable),
        ("soap:Refused", Refused),
        ("x:FailedAuthentication", CredentialsRejected),
        ("soap:Client", AdapterFault),
    ],
)
async def test_soap_fault_is_read_for_what_it_means(fault: str, error: type[Exception]) -> None:
    soap = recipe("soap_fault")
    envelope = "http://schemas.xmlsoap.org/soap/envelope/"
    inner = f"<s:Fault><faultcode>{fault}</faultcode><faultstring>不行</faultstring></s:Fault>"
    text = f'<s:Envelope xmlns:s="{envelope}"><s:Body>{inner}</s:Body></s:Envelope>'
    async with client(lambda request: httpx.Response(500, text=text)) as http:
        with pytest.raises(error):
            await soap.call(http, URL, "urn:x", b"<x/>")


async def test_soap_answer_with_a_dtd_is_never_read() -> None:
    soap = recipe("soap_fault")
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaa">]><x>&a;</x>'
    async with client(lambda request: httpx.Response(200, text=bomb)) as http:
        with pytest.raises(OutcomeUnknown):
            await soap.call(http, URL, "urn:x", b"<x/>")
