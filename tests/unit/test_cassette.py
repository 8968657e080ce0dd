"""Cassettes: what may differ from what was recorded, what may not, and how the first difference is named."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from hub.contract import Adapter, AdapterInstance, AdapterSettings, Assignment, Capability, Health, Manifest, Receipt
from hub.errors import InvalidInput, OutcomeUnknown, Unavailable
from hub.platform.adapters.outbound import departmental_client
from hub.platform.trial.sample import default_sample
from hub.platform.trial.trying import try_plugin
from hub.platform.trial.values import Body, Trial
from hub.testing.cassette import Asked, Cassette, CassetteMismatch, difference, raw_of, replaying

URL = "http://lamps.test"
KEY = "320113001001001-01jd8x2m9qk3v5wz.a1"


class LampSettings(AdapterSettings):
    url: str = URL
    secret: SecretStr = SecretStr("very-secret-value")


class LampAdapter(Adapter):
    """JSON over HTTP, a nonce and a time in every request."""

    manifest = Manifest(
        name="lamps", department="路灯", version="1", capabilities=frozenset({Capability.LOOKUP, Capability.RECALL})
    )
    Settings = LampSettings
    settings: LampSettings
    title = "{}"

    async def deliver(self, assignment: Assignment) -> Receipt:
        body = {"title": self.title.format(assignment.title), "sent_at": datetime.now(UTC).isoformat(), "ref": assignment.key}
        headers = {"Authorization": f"Bearer {self.settings.secret.get_secret_value()}"}
        answer = await self.http.post(f"{self.settings.url}/orders", json=body, headers=headers)
        return Receipt(ticket=answer.json()["ticket"])

    async def lookup(self, assignment: Assignment) -> Receipt | None:
        answer = await self.http.get(f"{self.settings.url}/orders", params={"ref": assignment.key})
        return Receipt(ticket=answer.json()["ticket"])

    async def recall(self, assignment: Assignment, reason: str) -> None:
        await self.http.delete(f"{self.settings.url}/orders/{assignment.ticket}")

    async def health(self) -> Health:
        return Health(ok=(await self.http.get(f"{self.settings.url}/ping")).status_code == 200)


class WordyLampAdapter(LampAdapter):
    """A later version that changed what it sends."""

    title = "路灯：{}"


INSTANCE = AdapterInstance(name="lamps", plugin="lamps")
SAMPLE = default_sample(suffix="abcdefgh23456789", now=datetime(2026, 3, 2, tzinfo=UTC), unit="lamps")


async def recorded(answers: list[httpx.Response | Exception] | None = None) -> Trial:
    """A trial against a department that answers in turn, then as it should."""
    first = iter(answers or ())

    def reply(request: httpx.Request) -> httpx.Response:
        answer = next(first, None)
        if isinstance(answer, Exception):
            raise answer
        return answer or httpx.Response(200, json={"ticket": "L-7", "token": "given-by-them", "at": "2026-03-02T08:00:00Z"})

    return await try_plugin(LampAdapter, INSTANCE, assignment=SAMPLE, transport=httpx.MockTransport(reply))


async def test_a_recorded_trial_is_replayed_from_its_file_without_network(tmp_path: Path) -> None:
    trial = await recorded()
    assert trial.outcome == "recalled", trial.text
    file = tmp_path / "cassettes" / "sample.cassette.json"
    Cassette.of(trial).save(file)
    cassette = Cassette.load(file)
    assert cassette == Cassette.of(trial)
    assert (cassette.assignment, cassette.ticket) == (SAMPLE, "L-7")
    department = replaying(cassette)
    again = await try_plugin(LampAdapter, INSTANCE, assignment=cassette.assignment, transport=department)
    department.check_all_played()
    assert (again.outcome, again.ticket) == ("recalled", "L-7")


async def test_a_cassette_holds_no_secret_and_says_the_same_each_time(tmp_path: Path) -> None:
    one, other = Cassette.of(await recorded()).text(), Cassette.of(await recorded()).text()
    assert "very-secret-value" not in one
    assert "given-by-them" not in one
    assert not {"traceparent", "user-agent", "content-length"} & set(json.loads(one)["exchanges"][1]["request"]["headers"])

    def settled(text: str) -> list[Any]:
        exchanges: list[Any] = json.loads(text)["exchanges"]
        exchanges[1]["request"]["body"]["content"].pop("sent_at")
        return exchanges

    assert settled(one) == settled(other)


async def test_what_a_later_version_sends_otherwise_is_named(tmp_path: Path) -> None:
    department = replaying(Cassette.of(await recorded()))
    trial = await try_plugin(WordyLampAdapter, INSTANCE, assignment=SAMPLE, transport=department)
    assert not trial.ok
    with pytest.raises(
        CassetteMismatch, match=r"exchange 2 \(POST /orders\): body /title: \"【测试】.*\" was recorded, \"路灯：【测试】"
    ):
        department.check_all_played()


async def test_retries_are_replayed_in_their_order() -> None:
    trial = await recorded([httpx.Response(200), httpx.Response(503), httpx.ConnectError("down")])
    assert [call.call for call in trial.calls] == ["start", "health", "deliver", "deliver", "deliver", "lookup", "recall"]
    department = replaying(Cassette.of(trial))
    again = await try_plugin(LampAdapter, INSTANCE, assignment=SAMPLE, transport=department)
    department.check_all_played()
    assert [call.problem and call.problem.code for call in again.calls] == [
        call.problem and call.problem.code for call in trial.calls
    ]


async def test_an_answer_that_was_lost_is_lost_again() -> None:
    trial = await recorded([httpx.Response(200), httpx.ReadTimeout("lost")])
    async with departmental_client("lamps", timeout=1, transport=replaying(Cassette.of(trial))) as http:
        await http.get(f"{URL}/ping")
        body = {"title": SAMPLE.title, "sent_at": "2027-01-01T00:00:00+00:00", "ref": SAMPLE.key}
        with pytest.raises(OutcomeUnknown):
            await http.post(f"{URL}/orders", json=body, headers={"Authorization": "Bearer x"})


async def test_a_connection_that_could_not_be_made_can_not_be_made_again() -> None:
    trial = await recorded([httpx.ConnectError("down")])
    async with departmental_client("lamps", timeout=1, transport=replaying(Cassette.of(trial))) as http:
        with pytest.raises(Unavailable):
            await http.get(f"{URL}/ping")


async def test_what_was_recorded_and_never_asked_for_is_named() -> None:
    department = replaying(Cassette.of(await recorded()))
    async with departmental_client("lamps", timeout=1, transport=department) as http:
        await http.get(f"{URL}/ping")
        with pytest.raises(CassetteMismatch, match="GET /ping was not recorded so; exchange 2"):
            await http.get(f"{URL}/ping")
    with pytest.raises(CassetteMismatch):
        department.check_all_played()
    assert department.unused[0] == "2 POST /orders"


def asked(**changes: Any) -> Asked:
    values: dict[str, Any] = {
        "method": "POST",
        "path": "/orders",
        "headers": {"content-type": "application/json", "x-signature": "***"},
        "body": Body(kind="json", content={"ref": KEY, "at": 1764000000, "n": {"a": [1, "x"]}, "secret": "***"}),
    }
    return Asked(**(values | changes))


def sent(body: object, *, method: str = "POST", url: str = f"{URL}/orders", **headers: str) -> httpx.Request:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    names = {"content-type": "application/json", "x-signature": "abc", **{n.replace("_", "-"): v for n, v in headers.items()}}
    return httpx.Request(method, url, content=content, headers={name: value for name, value in names.items() if value})


FRESH = {"ref": "320113001001001-01jd8x2m9qk3v5zz.a2", "at": 1790000000, "n": {"a": [1, "x"]}, "secret": "anything"}


def test_new_keys_times_and_what_was_blotted_out_are_no_difference() -> None:
    request = sent(FRESH)
    assert difference(asked(), request, request.content) is None


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        (sent(FRESH, method="PUT"), "method: POST was recorded, PUT is asked"),
        (sent(FRESH, url=f"{URL}/order"), "path: /orders was recorded, /order is asked"),
        (sent(FRESH, url=f"{URL}/orders?x=1"), "query "),
        (sent(FRESH, x_signature=""), "header /x-signature: was recorded, is missing"),
        (sent(FRESH, x_other="1"), "header /x-other: was not recorded"),
        (sent(b"<x/>"), "body: JSON was recorded"),
        (sent({**FRESH, "more": 1}), "body /more: was not recorded"),
        (sent({k: v for k, v in FRESH.items() if k != "at"}), "body /at: was recorded, is missing"),
        (sent({**FRESH, "n": {"a": [1, "y"]}}), 'body /n/a/1: "x" was recorded, "y" is sent'),
        (sent({**FRESH, "n": {"a": ["1", "x"]}}), 'body /n/a/0: 1 was recorded, "1" is sent'),
        (sent({**FRESH, "n": {"a": [1]}}), "body /n/a/1: was recorded, is missing"),
    ],
)
def test_the_first_difference_is_named(request_: httpx.Request, says: str) -> None:
    found = difference(asked(), request_, request_.content)
    assert found is not None
    assert found.startswith(says)


def test_only_what_is_listed_as_free_may_differ() -> None:
    request = sent({**FRESH, "ref": KEY})
    assert difference(asked(), request, request.content, free=("times",)) is None
    assert (
        difference(asked(), request, request.content, free=("keys",)) == "body /at: 1764000000 was recorded, 1790000000 is sent"
    )


def test_xml_is_compared_element_by_element() -> None:
    text = '<e:Envelope xmlns:e="urn:e"><e:Nonce>aGVsbG8gd29ybGQgMTIz==</e:Nonce><e:Title kind="a">灯</e:Title><e:Empty/></e:Envelope>'
    recorded_ = Asked(method="POST", path="/", body=Body(kind="xml", content=text))

    def said(body: str) -> str | None:
        return difference(recorded_, httpx.Request("POST", f"{URL}/"), body.encode())

    assert said(text.replace("aGVsbG8gd29ybGQgMTIz==", "Z29vZGJ5ZSB3b3JsZDQ1==")) is None
    assert said(text.replace("灯", "井")) == 'body e:Envelope/e:Title/text(): "灯" was recorded, "井" is sent'
    assert said(text.replace("<e:Empty/>", "")) == "body e:Envelope/e:Empty: was recorded, is missing"
    assert said(text.replace("<e:Empty/>", "<e:Empty/><e:Empty/>")) == "body e:Envelope/e:Empty[2]: was not recorded"


def test_forms_are_compared_by_name() -> None:
    recorded_ = Asked(method="POST", path="/", body=Body(kind="form", content={"a": ["1", "2"], "b": "x"}))
    request = httpx.Request("POST", f"{URL}/")
    assert difference(recorded_, request, b"b=x&a=1&a=2") is None
    assert difference(recorded_, request, b"b=x&a=1") == "body /a/1: was recorded, is missing"


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_a_document_is_never_different_from_itself(document: Any) -> None:
    body = Body(kind="json", content=document)
    assert difference(Asked(method="POST", path="/", body=body), httpx.Request("POST", f"{URL}/"), raw_of(body)) is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "not a cassette of version 1"),
        ("[]", "not a cassette of version 1"),
        ('{"version": 2}', "not a cassette of version 1"),
        ('{"version": 1, "plugin": "x", "plugin_version": "1", "exchanges": [{}]}', "exchanges|missing"),
        (
            '{"version": 1, "plugin": "x", "plugin_version": "1", "exchanges": [], "free": ["all"]}',
            "Invalid enum value 'all' - at",
        ),
    ],
)
def test_a_file_that_is_no_cassette_is_refused_by_name(text: str, says: str, tmp_path: Path) -> None:
    file = tmp_path / "x.cassette.json"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidInput, match=says) as refused:
        Cassette.load(file)
    assert str(file) in str(refused.value)


async def test_a_trial_without_http_can_not_be_recorded() -> None:
    class Mute(Adapter):
        manifest = Manifest(name="mute", department="x", version="1")

        async def deliver(self, assignment: Assignment) -> Receipt:
            return Receipt(ticket="1")

    trial = await try_plugin(Mute, AdapterInstance(name="mute", plugin="mute"))
    with pytest.raises(InvalidInput, match="nothing went over HTTP"):
        Cassette.of(trial)
