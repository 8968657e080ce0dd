"""What a case looks like to clients of GeoReport v2: open or closed, the rest in words.

Addresses end at the street for those who do not handle the case, and the hub gives their coordinates rounded; what is not for a client
at all does not get here. Times carry the district's offset. Pure.
"""

from __future__ import annotations

from datetime import datetime

from hub import DistrictFacts, News, ShownCase, Stage, mask_address
from hub_open311.server.catalogue import Catalogue
from hub_open311.server.formats import Value
from hub_open311.server.wording import PICTURE, parts_of, spot_of

MOST_DESCRIPTION = 4000
WITHHELD = "（内容不公开）"

OPEN = (Stage.REPORTED, Stage.HELD, Stage.DISPATCHED)
CLOSED = (Stage.RESOLVED, Stage.CLOSED, Stage.VOID, Stage.MERGED)
"""`closed: it has been resolved` (status of the specification); the callback visit comes after."""

STATE_OF = {
    "case.held": "investigating",
    "assignment.made": "action_scheduled",
    "assignment.accepted": "in_progress",
    "assignment.progressed": "in_progress",
    "clock.suspended": "action_scheduled",
    "clock.resumed": "in_progress",
    "case.resolved": "fixed",
    "case.closed": "closed",
    "case.reopened": "open",
    "case.voided": "no_further_action",
    "case.merged": "duplicate",
}
"""FixMyStreet's extended state that an event brings; what it has none for is not told."""
_ENDS = ("fixed", "closed", "no_further_action", "duplicate")


class Shower:
    """Shows cases and news of one district."""

    def __init__(self, district: DistrictFacts, catalogue: Catalogue) -> None:
        self._district = district
        self._catalogue = catalogue

    def time(self, at: datetime) -> str:
        """A time in W3C form with the district's offset."""
        return at.astimezone(self._district.zone).isoformat(timespec="seconds")

    def request(self, case: ShownCase) -> dict[str, Value]:
        """One service request."""
        description, extras = (WITHHELD, {}) if case.text is None else parts_of(case.text)
        spot = spot_of(case.place)
        address = spot.address if case.exact or spot.address is None else _vague(spot.address, case)
        return {
            "service_request_id": case.id,
            "status": "closed" if case.stage in CLOSED else "open",
            "status_notes": case.said,
            "service_name": self._catalogue.name(case.category),
            "service_code": case.category or "",
            "description": description[:MOST_DESCRIPTION],
            "agency_responsible": case.agency,
            "service_notice": None,
            "requested_datetime": self.time(case.reported_at),
            "updated_datetime": self.time(case.changed_at),
            "expected_datetime": None if case.due_at is None else self.time(case.due_at),
            "address": address or _area(case),
            "address_id": spot.address_id or case.area,
            "zipcode": None,
            "lat": None if case.wgs84 is None else case.wgs84.latitude,
            "long": None if case.wgs84 is None else case.wgs84.longitude,
            "media_url": extras.get(PICTURE),
        }

    def updates(self, news: list[News], *, extended: bool) -> list[Value]:
        """Entries of servicerequestupdates. `extended`: FixMyStreet's states, else open and closed only."""
        return [self._update(item, STATE_OF[item.kind], extended=extended) for item in news if item.kind in STATE_OF]

    def _update(self, item: News, state: str, *, extended: bool) -> Value:
        return {
            "update_id": item.id,
            "service_request_id": item.case,
            "status": state if extended else "closed" if state in _ENDS else "open",
            "updated_datetime": self.time(item.at),
            "description": item.text,
            "media_url": "",
        }


def _vague(address: str, case: ShownCase) -> str:
    masked = mask_address(address)
    return f"{_area(case)}{masked}" if masked.startswith("*") else masked


def _area(case: ShownCase) -> str:
    return "".join(case.area_path[:3])
