"""A police incident system for tests and demos: `python -m hub_police.simulator --port 0 --data DIR`.

A SOAP endpoint with the shipped WSDL. Its people take urgent incidents (priority 1) within seconds, others at their pace; every
step becomes a receipt in a numbered list. It refuses an incident whose title contains 不予受理.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

from fastapi import FastAPI, Request, Response
from lxml import etree

from hub.testing.simulator import FaultKind, Simulator, Step, Ticket, iso
from hub.testing.tracing import note_case
from hub_police.envelope import Fields, SoapFault, answer, fault, fields_of, read_request, text_of
from hub_police.soap import wsdl_path

PATH = "/services/IncidentService"
_URGENT_WITHIN = 1.5
_NOTES = {
    "accepted": "指挥中心已接警",
    "on_site": "民警已到达现场处置",
    "done": "现场已处置完毕，当事人已劝离",
    "returned": "不属于公安职责范围，建议转相关部门",
}
_KINDS = {"accepted": "ACCEPTED", "on_site": "ON_SITE", "done": "DONE", "returned": "RETURNED"}


CATEGORIES = {
    "10": "刑事警情",
    "20": "治安警情",
    "30": "交通警情",
    "40": "纠纷警情",
    "50": "群众求助",
    "90": "其他警情",
}
"""The police's own kinds of incidents."""


def adapter_settings(url: str, secret: str) -> dict[str, object]:
    """Adapter settings that match a running simulator."""
    return {"url": f"{url}{PATH}", "username": "city-hub", "secret": secret}


class PoliceSimulator(Simulator):
    """Simulated police incident system."""

    department: ClassVar[str] = "police"
    prefix: ClassVar[str] = "JQ"
    statuses: ClassVar[Sequence[str]] = ("ACCEPTED", "DISPATCHED", "ON_SITE", "DONE", "RETURNED")

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Its own options."""
        parser.add_argument("--returned", type=float, default=0.0, help="share of incidents given back")

    def routes(self, app: FastAPI) -> None:
        """The endpoint, and its description."""
        self._wsdl = Path(wsdl_path()).read_text(encoding="utf-8")
        app.get(PATH)(self.describe)
        app.post(PATH)(self.endpoint)

    def files(self, method: str, path: str, headers: Mapping[str, str]) -> bool:
        """Only a reported incident files something."""
        return headers.get("soapaction", "").strip('"').endswith("/ReportIncident")

    async def describe(self, request: Request) -> Response:
        """The WSDL with this server's address in it (`?wsdl`)."""
        here = str(request.url.replace(query=""))
        return Response(self._wsdl.replace(f"http://127.0.0.1{PATH}", here), media_type="text/xml; charset=utf-8")

    async def endpoint(self, request: Request) -> Response:
        """One SOAP call."""
        try:
            operation = read_request(await request.body(), password=self.secret, now=datetime.now(UTC))
            name = etree.QName(operation).localname
            content = self._carry_out(name, operation)
        except SoapFault as problem:
            return Response(fault(problem), status_code=500, media_type="text/xml; charset=utf-8")
        await self.store.durable()
        return Response(content, media_type="text/xml; charset=utf-8")

    def _carry_out(self, name: str, call: etree._Element) -> bytes:
        match name:
            case "ReportIncident":
                return self._report_incident(call)
            case "FindIncident":
                return self._find(text_of(call, "reference"))
            case "CancelIncident":
                return self._cancel(text_of(call, "serial"), text_of(call, "reason"))
            case "UrgeIncident":
                return self._urge(text_of(call, "serial"), text_of(call, "message"))
            case "QueryReceipts":
                return self._receipts(_number(call, "since"), _number(call, "limit"))
            case "ListIncidents":
                return self._incidents(str(fields_of(call).get("after", "")), _number(call, "limit"))
            case "ListCategories":
                listed = [("category", {"code": code, "name": name}) for code, name in CATEGORIES.items()]
                return answer(name, {"count": str(len(listed))}, listed)
            case "Ping":
                return answer(name, {"service": "公安接处警系统", "at": iso(time.time())})
            case _:
                raise SoapFault("soap:Client", f"未知的操作 {name}")

    def _report_incident(self, call: etree._Element) -> bytes:
        if "不予受理" in text_of(call, "incident/title"):
            raise SoapFault("soap:Client", "不予受理", refusal=("NOT_POLICE_MATTER", "不属于公安受理范围"))
        body = fields_of(call[0])
        filed = self.file(key=text_of(call, "incident/reference"), unit=text_of(call, "incident/unit"), body=body)
        return answer("ReportIncident", {"serial": filed.ticket, "state": filed.state})

    def _find(self, reference: str) -> bytes:
        note_case(reference.partition(".")[0])
        found = self.store.ticket_of_key(reference)
        if found is None:
            return answer("FindIncident", {})
        return answer(
            "FindIncident", {}, [("standing", {"serial": found.ticket, "reference": reference, "state": found.state})]
        )

    def _cancel(self, serial: str, reason: str) -> bytes:
        found = self.store.ticket(serial)
        if found is None or found.state == "returned":
            return answer("CancelIncident", {"found": "false"})
        self._note(found)
        if found.state == "done":
            raise SoapFault("soap:Client", "警情已办结", refusal=("FINISHED", "警情已办结，不能撤销"))
        with self.store.change():
            self.store.cancel_steps(serial)
            self.store.set_ticket(serial, state="recalled", body=found.body | {"recalled": reason})
        return answer("CancelIncident", {"found": "true", "state": "recalled"})

    def _urge(self, serial: str, message: str) -> bytes:
        found = self.store.ticket(serial)
        if found is None:
            raise SoapFault("soap:Client", "警情不存在", refusal=("UNKNOWN", "警情不存在"))
        self._note(found)
        self.store.set_ticket(serial, body=found.body | {"urged": [*found.body.get("urged", []), message]})
        return answer("UrgeIncident", {"state": found.state})

    def _receipts(self, since: int, limit: int) -> bytes:
        """A page of receipts; faults let items come twice or in reversed order."""
        size = min(max(limit, 1), 1000)
        page = self.store.feed_since(since, size)
        items: list[tuple[str, Fields]] = []
        for entry in page:
            item: dict[str, str | None] = {"sequence": str(entry.seq), **entry.body}
            items.append(("receipt", item))
            if self.faults.draw(FaultKind.DUPLICATE_CALLBACK):
                items.append(("receipt", item))
        if len(items) > 1 and self.faults.draw(FaultKind.REORDER_CALLBACKS):
            items.reverse()
        fields = {"next": str(page[-1].seq if page else since), "more": "true" if len(page) == size else "false"}
        return answer("QueryReceipts", fields, items)

    def _incidents(self, after: str, limit: int) -> bytes:
        """A page of everything reported from outside, by serial number."""
        size = min(max(limit, 1), 1000)
        later = sorted(item.ticket for item in self.store.tickets() if item.key is not None and item.ticket > after)
        items: list[tuple[str, Fields]] = []
        for serial in later[:size]:
            found = self.store.ticket(serial)
            assert found is not None
            items.append(("standing", {"serial": serial, "reference": found.key, "state": found.state}))
        return answer("ListIncidents", {"more": "true" if len(later) > size else "false"}, items)

    def planned(self, ticket: Ticket) -> None:
        """An urgent incident is taken within seconds, whatever the pace."""
        self.after(0.3 if _urgent(ticket) else 1, "accepted", ticket.ticket, most=_URGENT_WITHIN if _urgent(ticket) else None)

    def step(self, step: Step) -> None:
        """Officers at work."""
        ticket = self.store.ticket(step.ticket)
        if ticket is None:
            return
        self._receipt(ticket, step.kind)
        if step.kind == "accepted":
            returned = self.random(ticket.ticket, "returned").random() < self.arguments.returned
            self.after(1 if _urgent(ticket) else 2, "returned" if returned else "on_site", ticket.ticket)
        elif step.kind == "on_site":
            self.after(3, "done", ticket.ticket)

    def _receipt(self, ticket: Ticket, state: str) -> None:
        """Write the next receipt of the list."""
        squad = f"巡逻{self.random(ticket.ticket, 'squad').choice('一二三四五')}组"
        receipt: dict[str, Any] = {
            "receiptId": f"{ticket.ticket}-{state}",
            "serial": ticket.ticket,
            "reference": ticket.key,
            "kind": _KINDS[state],
            "at": iso(time.time()),
            "squad": squad,
            "note": _NOTES[state],
        }
        self.store.set_ticket(ticket.ticket, state=state)
        self.store.feed(state, ticket.ticket, receipt)

    def _note(self, ticket: Ticket) -> None:
        if ticket.key is not None:
            note_case(ticket.key.partition(".")[0])


def _urgent(ticket: Ticket) -> bool:
    return ticket.body.get("priority") == "1"


def _number(call: etree._Element, name: str) -> int:
    try:
        return int(text_of(call, name))
    except ValueError as error:
        raise SoapFault("soap:Client", f"字段 {name} 不是数字") from error


if __name__ == "__main__":
    PoliceSimulator.main()
