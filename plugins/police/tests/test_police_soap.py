"""What only the police plugin does: SOAP, faults, hostile XML, priorities, the numbered list of receipts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
import structlog
import zeep
from hub_police import PoliceAdapter, PoliceSettings
from hub_police.envelope import SoapFault, answer, fault, fields_of, read_request
from hub_police.simulator import adapter_settings
from hub_police.soap import UnsafeXml, check_xml, plain
from msgspec.structs import replace

from hub import (
    AdapterFault,
    Contact,
    CredentialsRejected,
    Feedback,
    FeedbackKind,
    OutcomeUnknown,
    Refused,
    Severity,
    Unavailable,
)
from hub.contract import Context
from hub.platform.adapters.outbound import departmental_client
from hub.testing.kit import MemoryStore, eventually, running_adapter, sample_assignment
from hub.testing.process import SimulatorProcess

SECRET = "police-test-secret"
LAUGHS = b"""<?xml version="1.0"?>
<!DOCTYPE lolz [<!ENTITY a "lol"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">]>
<soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/"><soap:Body>
<p:ReportIncidentResponse xmlns:p="urn:city-hub:police:incident:1"><p:serial>&c;</p:serial><p:state>ok</p:state>
</p:ReportIncidentResponse></soap:Body></soap:Envelope>"""


def _external(target: str) -> bytes:
    return LAUGHS.replace(LAUGHS.split(b"\n")[1], f'<!DOCTYPE x [<!ENTITY c SYSTEM "{target}">]>'.encode())


@asynccontextmanager
async def answering(reply: Callable[[httpx.Request], httpx.Response]) -> AsyncIterator[PoliceAdapter]:
    """The adapter before a police system that answers what the test says."""
    async with departmental_client("police", timeout=1, transport=httpx.MockTransport(reply)) as http:
        context = Context(instance="police", http=http, store=MemoryStore(), log=structlog.get_logger(), callback_url="")
        settings = PoliceSettings.model_validate({"url": "http://police.test/soap", "secret": SECRET})
        adapter = PoliceAdapter(settings, context)
        await adapter.start()
        yield adapter


def _always(status: int, content: bytes, media_type: str = "text/xml") -> Callable[[httpx.Request], httpx.Response]:
    return lambda request: httpx.Response(status, content=content, headers={"content-type": media_type})


@pytest.fixture
def police(tmp_path: Path) -> Iterator[SimulatorProcess]:
    with SimulatorProcess("hub_police.simulator", tmp_path / "police", secret=SECRET, options=("--pace", "600")) as process:
        yield process


@pytest.mark.parametrize("status", [200, 500])
async def test_billion_laughs_answer_is_refused_unexpanded(status: int) -> None:
    async with answering(_always(status, LAUGHS + b"<!-- Fault> -->")) as adapter:
        with pytest.raises(OutcomeUnknown, match="forbidden XML: DTDForbidden"):
            await adapter.deliver(sample_assignment())


async def test_external_entity_answer_is_refused_and_its_file_not_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("SECRET-CONTENT", encoding="utf-8")
    asked: list[str] = []

    def reply(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        return httpx.Response(200, content=_external(secret.as_uri()))

    async with answering(reply) as adapter:
        with pytest.raises(OutcomeUnknown) as unknown:
            await adapter.deliver(sample_assignment())
        with pytest.raises(AdapterFault):
            await adapter.poll(None)
    assert "SECRET-CONTENT" not in str(unknown.value)
    assert asked == ["/soap", "/soap"], "nothing was fetched but the answers"


@pytest.mark.parametrize(
    "text", [LAUGHS, _external("file:///etc/passwd"), _external("http://127.0.0.1:9/x.dtd"), b"<open>", b"", b"\xff\xfe<"]
)
def test_hostile_or_broken_xml_is_refused(text: bytes) -> None:
    with pytest.raises(UnsafeXml):
        check_xml(text)


async def test_fault_of_the_server_means_try_again() -> None:
    async with answering(_always(500, fault(SoapFault("soap:Server", "数据库繁忙")))) as adapter:
        with pytest.raises(Unavailable):
            await adapter.deliver(sample_assignment())


async def test_500_without_a_fault_means_try_again() -> None:
    async with answering(_always(500, b"<html>Internal Server Error</html>", "text/html")) as adapter:
        with pytest.raises(Unavailable):
            await adapter.deliver(sample_assignment())


async def test_failed_authentication_is_told_apart_from_a_refusal() -> None:
    async with answering(_always(500, fault(SoapFault("wsse:FailedAuthentication", "身份校验失败")))) as adapter:
        with pytest.raises(CredentialsRejected):
            await adapter.deliver(sample_assignment())
    refusal = SoapFault("soap:Client", "不予受理", refusal=("NOT_POLICE_MATTER", "不属于公安受理范围"))
    async with answering(_always(500, fault(refusal))) as adapter:
        with pytest.raises(Refused, match="不属于公安受理范围"):
            await adapter.deliver(sample_assignment())


async def test_misunderstood_call_is_the_plugins_fault() -> None:
    async with answering(_always(500, fault(SoapFault("soap:Client", "缺少字段")))) as adapter:
        with pytest.raises(AdapterFault):
            await adapter.deliver(sample_assignment())


async def test_page_that_is_no_soap_leaves_the_outcome_unknown() -> None:
    async with answering(_always(200, b"<html><body>login</body></html>", "text/html")) as adapter:
        with pytest.raises(OutcomeUnknown):
            await adapter.deliver(sample_assignment())


async def test_lost_answer_to_a_question_means_ask_again() -> None:
    def reply(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("gone", request=request)

    async with answering(reply) as adapter:
        for question in (adapter.lookup(sample_assignment()), adapter.poll("7"), adapter.health()):
            with pytest.raises(Unavailable):
                await question


async def test_receipts_of_unknown_kind_are_taken_as_progress_and_times_are_aware() -> None:
    receipt = {
        "sequence": "8",
        "receiptId": "r8",
        "serial": "JQ1",
        "reference": "320113001000000-0123456789.a1",
        "kind": "ON_SITE",
        "at": "2024-05-06T23:50:00",
        "note": "到场",
    }
    page = answer(
        "QueryReceipts",
        {"next": "9", "more": "true"},
        [("receipt", receipt), ("receipt", {**receipt, "receiptId": "r9", "kind": "DRONE"})],
    )
    async with answering(_always(200, page)) as adapter:
        poll = await adapter.poll("7")
    assert (poll.cursor, poll.more, len(poll.items)) == ("9", True, 2)
    for report in poll.items:
        assert isinstance(report, Feedback)
        assert (report.kind, report.at) == (FeedbackKind.PROGRESS, datetime(2024, 5, 6, 15, 50, tzinfo=UTC))


async def test_incident_travels_whole_without_the_password() -> None:
    sent: list[bytes] = []

    def reply(request: httpx.Request) -> httpx.Response:
        sent.append(request.content)
        return httpx.Response(200, content=answer("ReportIncident", {"serial": "JQ1", "state": "received"}))

    assignment = sample_assignment(
        text="打架\x0b斗殴 <b>&amp;\ud800", severity=Severity.URGENT, contact=Contact(phone="13800001234")
    )
    async with answering(reply) as adapter:
        assert (await adapter.deliver(assignment)).ticket == "JQ1"
    assert SECRET.encode() not in sent[0]
    call = read_request(sent[0], password=SECRET, now=datetime.now(UTC))
    body = fields_of(call[0])
    assert (body["reference"], body["priority"], body["text"]) == (assignment.key, "1", "打架斗殴 <b>&amp;")
    assert body["contact"] == {"phone": "13800001234"}
    with pytest.raises(SoapFault, match="身份校验失败"):
        read_request(sent[0], password="another", now=datetime.now(UTC))
    with pytest.raises(SoapFault, match="身份校验失败"):
        read_request(sent[0], password=SECRET, now=datetime.now(UTC) + timedelta(minutes=6))


def test_plain_keeps_what_xml_can_carry() -> None:
    assert plain("a\tb\n汉字😀\x00\x1f\ufffe") == "a\tb\n汉字😀"


async def test_urgent_incident_is_taken_within_seconds_at_any_pace(police: SimulatorProcess) -> None:
    async with running_adapter(PoliceAdapter, adapter_settings(police.url, SECRET)) as adapter:
        ordinary = await adapter.deliver(sample_assignment())
        urgent = await adapter.deliver(sample_assignment(severity=Severity.URGENT))

        def taken() -> bool:
            states = {ticket["ticket"]: ticket["state"] for ticket in police.tickets()}
            return states[urgent.ticket] == "accepted" and states[ordinary.ticket] == "received"

        await eventually(taken)
        poll = await adapter.poll(None)
    assert [(item.kind, item.ticket) for item in poll.items if isinstance(item, Feedback)] == [
        (FeedbackKind.ACCEPTED, urgent.ticket)
    ]


async def test_finished_incident_cannot_be_recalled(tmp_path: Path) -> None:
    options = ("--pace", "0.01")
    with SimulatorProcess("hub_police.simulator", tmp_path, secret=SECRET, options=options) as police:
        async with running_adapter(PoliceAdapter, adapter_settings(police.url, SECRET)) as adapter:
            assignment = sample_assignment()
            receipt = await adapter.deliver(assignment)
            await eventually(lambda: police.tickets()[0]["state"] == "done")
            with pytest.raises(Refused, match="已办结"):
                await adapter.recall(replace(assignment, ticket=receipt.ticket), "重复")


async def test_returned_incident_is_not_theirs_to_recall(tmp_path: Path) -> None:
    options = ("--pace", "0.01", "--returned", "1")
    with SimulatorProcess("hub_police.simulator", tmp_path, secret=SECRET, options=options) as police:
        async with running_adapter(PoliceAdapter, adapter_settings(police.url, SECRET)) as adapter:
            assignment = sample_assignment()
            receipt = await adapter.deliver(assignment)
            await eventually(lambda: police.tickets()[0]["state"] == "returned")
            await adapter.recall(replace(assignment, ticket=receipt.ticket), "重复")
            poll = await adapter.poll(None)
    assert [item.kind for item in poll.items if isinstance(item, Feedback)] == [FeedbackKind.ACCEPTED, FeedbackKind.RETURNED]


def test_served_wsdl_describes_the_running_endpoint(police: SimulatorProcess) -> None:
    text = httpx.get(f"{police.url}/services/IncidentService?wsdl", trust_env=False).text
    assert f'location="{police.url}/services/IncidentService"' in text
    path = police.data / "served.wsdl"
    path.write_text(text, encoding="utf-8")
    client = zeep.Client(str(path))
    assert {"ReportIncident", "QueryReceipts", "FindIncident"} <= set(client.service._operations)


def test_simulator_refuses_a_request_with_a_dtd(police: SimulatorProcess) -> None:
    response = httpx.post(f"{police.url}/services/IncidentService", content=LAUGHS, trust_env=False)
    assert response.status_code == 500
    assert "报文格式错误" in response.text
