"""What a case looks like to clients of GeoReport v2: open or closed, the rest in words; nothing personal, no departmental internals.

Coordinates are rounded and addresses end at the street for those who do not handle the case; a sensitive category shows neither text
nor place without a key. Times carry the district's offset. Pure.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from hub.model.assignments.state import Role
from hub.model.case.state import Case, Stage
from hub.model.limits.state import DeadlineKind
from hub.open311.catalogue import Catalogue
from hub.open311.formats import Value
from hub.open311.reading import CLOSED, Happened, Known
from hub.open311.wording import PICTURE, parts_of, rounded, spot_of
from hub.privacy.masks import mask_address

if TYPE_CHECKING:
    from hub.model.policy.district import District

MOST_DESCRIPTION = 4000
JOINED = "您反映的事项已并入正在办理的同一事项。"
WITHHELD = "（内容不公开）"

NOTES: dict[Stage, str] = {
    Stage.REPORTED: "已登记，等待受理。",
    Stage.HELD: "已受理，正在核查处理。",
    Stage.DISPATCHED: "已派单，承办单位正在办理。",
    Stage.RESOLVED: "已办理完毕，等待回访。",
    Stage.CLOSED: "已结案。",
    Stage.VOID: "经核实不予办理或无需办理，已作结束处理。",
    Stage.MERGED: "已并入同一事项继续办理。",
}
"""The stage as a sentence, for status_notes."""


def status_of(stage: Stage) -> str:
    """open or closed."""
    return "closed" if stage in CLOSED else "open"


class Shower:
    """Shows cases of one district to one client; `locates` says whether it may know exactly where a case is."""

    def __init__(self, district: District, catalogue: Catalogue, locates: Callable[[Case], bool]) -> None:
        self._district = district
        self._catalogue = catalogue
        self._locates = locates

    def time(self, at: datetime) -> str:
        """A time in W3C form with the district's offset."""
        return at.astimezone(self._district.zone).isoformat(timespec="seconds")

    def request(self, known: Known, *, withheld: bool) -> dict[str, Value]:
        """One service request. `withheld`: text and place are not for this client."""
        case = known.case
        description, extras = parts_of(case.text)
        if withheld:
            description, extras = WITHHELD, {}
        spot = spot_of(None if withheld else case.place)
        exact = self._locates(case)
        degrees = spot.degrees if exact or spot.degrees is None else rounded(spot.degrees)
        address = spot.address if exact or spot.address is None else self._vague(spot.address, case)
        return {
            "service_request_id": case.id,
            "status": status_of(case.stage),
            "status_notes": self._notes(case),
            "service_name": self._catalogue.name(case.category),
            "service_code": case.category or "",
            "description": description[:MOST_DESCRIPTION],
            "agency_responsible": self._agency(case),
            "service_notice": None,
            "requested_datetime": self.time(case.reported_at),
            "updated_datetime": self.time(_changed(known)),
            "expected_datetime": self._expected(case),
            "address": address or self._area(case),
            "address_id": spot.address_id or case.area,
            "zipcode": None,
            "lat": None if degrees is None else degrees[0],
            "long": None if degrees is None else degrees[1],
            "media_url": extras.get(PICTURE),
        }

    def update(self, item: Happened, status: str, description: str) -> dict[str, Value]:
        """One entry of servicerequestupdates."""
        return {
            "update_id": f"{item.case.id}.{item.number}.{item.ordinal}",
            "service_request_id": item.case.id,
            "status": status,
            "updated_datetime": self.time(item.at),
            "description": description,
            "media_url": "",
        }

    def _notes(self, case: Case) -> str:
        if case.suspended_at is not None and not case.stage.ended:
            return "因故暂缓办理。"
        if case.merged_into is not None:
            return f"{NOTES[Stage.MERGED]}编号：{case.merged_into}"
        if case.reopened and case.stage in (Stage.HELD, Stage.DISPATCHED):
            return "已重新办理。"
        return NOTES[case.stage]

    def _agency(self, case: Case) -> str | None:
        """The unit of the first lead assignment, else the holder's."""
        leads = (item.unit for item in case.assignments if item.role is Role.LEAD and item.state.open)
        code = next(leads, case.holder)
        unit = self._district.directory.get(code) if code is not None else None
        return None if unit is None else unit.name

    def _expected(self, case: Case) -> str | None:
        due = [deadline.due_at for deadline in case.deadlines if deadline.kind is DeadlineKind.RESOLVE]
        return self.time(due[0]) if due and case.stage not in CLOSED else None

    def _vague(self, address: str, case: Case) -> str:
        masked = mask_address(address)
        return f"{self._area(case)}{masked}" if masked.startswith("*") else masked

    def _area(self, case: Case) -> str:
        return "".join(self._district.areas.path(case.area)[:3])


def _changed(known: Known) -> datetime:
    """When it was closed, of a closed one; else of its last change."""
    case = known.case
    if case.stage is Stage.RESOLVED and case.resolved_at is not None:
        return case.resolved_at
    return case.closed_at or known.updated_at
