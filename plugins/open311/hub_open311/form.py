"""What is configured for one server, and the form of a new request made of it and an assignment. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field, HttpUrl, SecretStr

from hub import AdapterSettings, Assignment, FeedbackKind

MOST_DESCRIPTION = 4000

STATUSES: Mapping[str, FeedbackKind] = {
    "open": FeedbackKind.PROGRESS,
    "investigating": FeedbackKind.ACCEPTED,
    "for_triage": FeedbackKind.ACCEPTED,
    "in_progress": FeedbackKind.PROGRESS,
    "planned": FeedbackKind.PROGRESS,
    "action_scheduled": FeedbackKind.PROGRESS,
    "internal_referral": FeedbackKind.PROGRESS,
    "reopen": FeedbackKind.PROGRESS,
    "fixed": FeedbackKind.RESOLVED,
    "closed": FeedbackKind.RESOLVED,
    "no_further_action": FeedbackKind.RETURNED,
    "not_councils_responsibility": FeedbackKind.RETURNED,
    "duplicate": FeedbackKind.RETURNED,
}
"""GeoReport's two states and FixMyStreet's extended ones."""


class Open311Settings(AdapterSettings):
    """Settings of one server."""

    url: HttpUrl = Field(
        description="Endpoint of GeoReport v2 as service discovery names it, e.g. https://city.example/open311/v2."
    )
    api_key: SecretStr | None = Field(None, description="Key that may report.")
    jurisdiction_id: str | None = Field(None, description="Needed where the endpoint serves several jurisdictions.")
    format: Literal["json", "xml"] = Field("json", description="XML is the format every server has to have.")
    services: dict[str, str] = Field({}, description="Our category code or a beginning of it → the server's service_code.")
    default_service: str | None = Field(None, description="service_code where no entry fits; empty: refused, a person decides.")
    key_attribute: str = Field("external_id", description="Attribute that carries our key.")
    attributes: dict[str, str] = Field({}, description="Answers to questions the server requires, by attribute code.")
    updates: bool = Field(True, description="Read servicerequestupdates; false: only the requests' own status.")
    statuses: dict[str, FeedbackKind] = Field({}, description="The server's status → what it reports, before the usual ones.")
    email: str | None = Field(None, description="Whom the server may write to: the command centre, never the reporter.")
    first_name: str | None = Field(None, description="The same.")
    last_name: str | None = Field(None, description="The same.")
    phone: str | None = Field(None, description="The same.")
    lat: float | None = Field(
        None, ge=-90, le=90, description="WGS84 position given where the case has none and the server needs one."
    )
    long: float | None = Field(None, ge=-180, le=180, description="The same.")
    history_days: int = Field(30, ge=1, le=89, description="How far back the first poll looks.")
    overlap_seconds: int = Field(600, ge=0, description="How late an update may appear on the server and still be found.")


def form_of(assignment: Assignment, service: str, settings: Open311Settings) -> dict[str, str]:
    """The form of a new request; nothing of the reporter is in it."""
    body = "\n".join(
        part for part in (assignment.title, assignment.text, assignment.task and f"任务：{assignment.task}") if part
    )
    mark = f"\n〔来源编号 {assignment.key}〕"
    form = {
        "service_code": service,
        "description": body[: MOST_DESCRIPTION - len(mark)] + mark,
        "address_string": f"{''.join(assignment.area_path)}{assignment.place or ''}",
        f"attribute[{settings.key_attribute}]": assignment.key,
        **{f"attribute[{code}]": value for code, value in settings.attributes.items()},
    }
    if assignment.wgs84 is not None:
        form |= {"lat": str(assignment.wgs84.latitude), "long": str(assignment.wgs84.longitude)}
    elif settings.lat is not None and settings.long is not None:
        form |= {"lat": str(settings.lat), "long": str(settings.long)}
    for name in ("email", "first_name", "last_name", "phone"):
        if value := getattr(settings, name):
            form[name] = value
    return form
