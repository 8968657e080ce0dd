"""Routes of cases: report, list, one case, its timeline, trace and contact."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Annotated

import msgspec
from fastapi import APIRouter, Path, Query, Request

from hub.contract import Contact
from hub.errors import InvalidInput, NotAllowed
from hub.model.aggregate import tag_of
from hub.model.case.commands import AccessContact
from hub.model.case.state import CaseId
from hub.model.district.areas import within
from hub.model.positions import Position
from hub.privacy.masks import FIELDS, mask_text
from hub.spine.ways_in.intake import Entry
from hub.spine.ways_in.locating import on_the_map
from hub.surfaces.api.answers import REPLAYED, SEQUENCE, Answered, Fresh, KeyHeader, answer, needed, settle, utc_now, wrote
from hub.surfaces.api.bodies import ReportBody, reads
from hub.surfaces.api.cases.models import CaseList, CommandAnswer, ContactAnswer
from hub.surfaces.api.cases.present import Presenter
from hub.surfaces.api.people.auth import CallerHere, ServicesHere, Worker
from hub.surfaces.api.problems import Failure
from hub.views.filters import CaseFilter

if TYPE_CHECKING:
    from hub.model.policy.district import District

CasePath = Annotated[
    str,
    Path(
        pattern=r"^\d{15}-[0-9a-hjkmnp-tv-z]{10,26}$",
        description="Case id",
        examples=["320113001001001-01jd8x2m9qk3v5wz"],
    ),
]

router = APIRouter(prefix="/cases", tags=["cases"])


@router.post(
    "",
    status_code=201,
    summary="Report a matter",
    responses={200: {"description": "It belongs to a notice that was there already"}},
)
async def report(
    request: Request,
    services: ServicesHere,
    caller: Worker,
    body: Annotated[ReportBody, reads(ReportBody)],
    key: KeyHeader = None,
) -> Answered[CommandAnswer]:
    """Open a case. 200 instead of 201 when the report joined a notice (a planned outage) that covers it.

    Phone numbers, names and flats in the text are masked before anything is stored. The contact is kept encrypted.
    """
    given = needed(key)
    if body.area is not None and caller.scope.area is not None and not within(body.area, caller.scope.area):
        raise InvalidInput("lies outside the token's area", subject="area")
    if caller.scope.area is not None and not all(within(code, caller.scope.area) for code in body.covers):
        raise InvalidInput("lies outside the token's area", subject="covers")
    contact = None
    if body.contact is not None:
        contact = Contact(name=body.contact.name, phone=body.contact.phone, address=body.contact.address)
    entry = Entry(
        channel=body.channel,
        title=body.title,
        text=body.text,
        reported_at=body.reported_at or utc_now(),
        area=body.area or _area_of(caller.scope.area, body, services.district()),
        place_name=body.place_name,
        place=body.place,
        position=body.position and Position(**msgspec.structs.asdict(body.position)),
        category=body.category,
        severity=body.severity,
        contact=contact,
        covers=body.covers,
        covers_until=body.covers_until,
        # Keyed by what only the caller has: a bare hash of a contact could be guessed back, even after it was erased.
        said=hmac.new(given.encode(), repr(body).encode(), "sha256").hexdigest(),
    )
    outcome = await services.intake.report(entry, actor=caller.actor, key=f"{caller.token.id}\n{given}")
    wrote(request, caller, outcome.sequence)
    presenter = Presenter(services.district(), caller, utc_now())
    opened = not outcome.repeated and not outcome.attached
    shown = CommandAnswer(
        # One that was there already may have left the caller's scope, or never have been in it.
        case=presenter.case(outcome.folded) if opened or caller.sees(outcome.state) else presenter.number(outcome.folded),
        sequence=outcome.sequence,
        events=[tag_of(event) for event in outcome.events],
        repeated=outcome.repeated,
        attached=outcome.attached,
    )
    headers = {SEQUENCE: str(outcome.sequence), "Location": f"/api/v1/cases/{outcome.folded.id}"}
    if outcome.repeated:
        headers[REPLAYED] = "true"
    return answer(shown, 200 if outcome.attached else 201, headers)


@router.get("", summary="List cases")
async def list_cases(
    request: Request,
    services: ServicesHere,
    caller: CallerHere,
    wanted: Annotated[CaseFilter, Query()],
    total: Annotated[bool, Query(description="Count all that match")] = False,
    fresh: Fresh = False,
) -> Answered[CaseList]:
    """Cases in the token's scope, a page at a time."""
    await settle(request, caller, fresh=fresh)
    page = await services.views.list(wanted, caller.scope)
    shown = Presenter(services.district(), caller, utc_now())
    items = [shown.item(seen.folded, seen.updated_at) for seen in page.items]
    count = await services.views.count(wanted, caller.scope) if total else None
    return answer(CaseList(items=items, cursor=page.cursor, total=count))


@router.get("/{id}/contact", summary="The reporter's contact")
async def contact(
    request: Request,
    services: ServicesHere,
    caller: Worker,
    id: CasePath,
    purpose: Annotated[str, Query(min_length=2, max_length=200, pattern=r"\S", description="Why; recorded in the case")],
) -> Answered[ContactAnswer]:
    """Name, phone and address, for people who handle the case. The hub commits the access before it gives them."""
    folded = caller.must_see(await services.desk.load(CaseId(id)))
    case = folded.state
    if not caller.handles(case):
        raise Failure(403, "forbidden", "Only who handles the case may read the contact.")
    if not case.has_contact or case.contact_erased:
        raise NotAllowed("no contact")
    outcome = await services.desk.execute(
        case.id,
        AccessContact(by=caller.token.name, purpose=mask_text(purpose.strip()), fields=FIELDS),
        actor=caller.actor,
        cause=folded.last_trace,
    )
    wrote(request, caller, outcome.sequence)
    found = await services.vault.open(case.id)
    if found is None:
        raise NotAllowed("no contact")
    shown = ContactAnswer(name=found.name, phone=found.phone, address=found.address)
    return answer(shown, headers={"Cache-Control": "no-store"})


def _area_of(scope: str | None, body: ReportBody, district: District) -> str | None:
    """The area of a report without one, by a token limited to a part: the place it names there, else where its position is, else that
    part itself.

    None: the token is for the whole district, so intake looks. Raises InvalidInput for a place outside the scope.
    """
    if scope is None:
        return None
    named = body.place_name and (district.places.get(body.place_name) or district.locate(body.place_name))
    found = named or district.locate(f"{body.place or ''} {body.title} {body.text}")
    if found is None or within(scope, found):
        point = None if body.position is None else on_the_map(district, body.position)
        shown = None if point is None else district.outlines.area_at(point)
        return shown if shown is not None and within(shown, scope) else scope
    if not within(found, scope):
        raise InvalidInput("the place named lies outside the token's area; say which area it is", subject="area")
    return found


__all__ = ["CasePath", "router"]
