"""POST requests: a form becomes one report, exactly once for a client's own reference.

The contact goes to the vault through the entry and nowhere else. What a case has no field for is kept in words (hub.open311.wording);
what can't be kept is refused or said in service_notice, never lost silently.
"""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.datastructures import UploadFile

from hub.contract import Contact
from hub.errors import InvalidInput
from hub.model.actors import Actor, ActorKind
from hub.model.case.state import Case, Channel
from hub.model.district.areas import within
from hub.model.records import Attachment, Source
from hub.open311.asking import Asked, degrees, first_of
from hub.open311.catalogue import PLACE_DETAIL, Catalogue
from hub.open311.errors import Open311Error
from hub.open311.formats import Value
from hub.open311.reading import SOURCE
from hub.open311.wording import Spot, place_of, text_of
from hub.privacy.masks import mask_text
from hub.spine.ways_in.intake import Entry, EntryFile
from hub.surfaces.api.cases.files import MOST as MOST_FILE
from hub.surfaces.api.cases.files import media_type_of, safe_name

if TYPE_CHECKING:
    from hub.model.policy.district import District
    from hub.spine.ledger.desk import Outcome
    from hub.surfaces.api.people.auth import Caller
    from hub.surfaces.api.services import Services

REFERENCES = ("fixmystreet_id", "external_id", "service_request_id_ext")
"""Attributes (and plain arguments) by which clients name a report of their own; the first that is sent counts."""
_IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,200}")
_COORDINATES = frozenset(("easting", "northing"))
MOST_DESCRIPTION = 4000
MOST_TITLE = 60
_LATIN = re.compile(r"[A-Za-z]")


def reference(asked: Asked, key: str | None, client: str, salt: str = "") -> str | None:
    """The client's own reference, tied to the client: two clients' numbers never meet. None: none was given.

    `salt` tells apart clients that share a name (those without a key); only its hash is kept. Raises Open311Error(400) for an
    Idempotency-Key that is none.
    """
    if key is not None:
        if not _IDEMPOTENCY_KEY.fullmatch(key):
            raise Open311Error(400, "Idempotency-Key has 1 to 200 visible ASCII characters")
        own = f"key:{key}"
    else:
        given = first_of(asked.attributes(), REFERENCES)
        given = given or next((value for name in REFERENCES if (value := asked.get(name))), None)
        if given is None:
            return None
        own = f"id:{given}"
    digest = hashlib.sha256(f"{salt}\n{own}".encode()).hexdigest()
    return f"{client}/{digest[:32]}"


class Reporter:
    """Opens cases for one client."""

    def __init__(self, services: Services, catalogue: Catalogue, caller: Caller | None) -> None:
        self._services = services
        self._catalogue = catalogue
        self._caller = caller

    async def report(self, asked: Asked, ref: str) -> tuple[Outcome[Case], dict[str, Value]]:
        """(what came of it, the answer); the same `ref` opens one case. Raises Open311Error, and what intake raises."""
        district = self._services.district()
        code, spot = self._needed(asked)
        ours, others = self._catalogue.answers(code, asked.attributes())
        if (detail := ours.pop(PLACE_DETAIL, None)) is not None:
            spot = Spot(address=f"{spot.address or ''} {detail}".strip(), address_id=spot.address_id, degrees=spot.degrees)
        place = place_of(spot)
        description = asked.get("description", most=MOST_DESCRIPTION) or first_of(asked.attributes(), ("description",)) or ""
        extras = self._extras(asked, code, ours, others)
        picture, notices = _picture(asked)
        name = self._catalogue.name(code)
        entry = Entry(
            channel=Channel.RESIDENT,
            title=_title(asked, description, name),
            text=text_of(description or name, extras, picture=picture),
            reported_at=datetime.now(UTC),
            area=self._area(district, spot, description),
            place_name=spot.address_id if spot.address_id in district.places else spot.address,
            place=place,
            category=code,
            contact=_contact(asked, spot.address),
            source=Source(adapter=SOURCE, ref=ref),
            files=await _files(asked.files),
        )
        outcome = await self._services.intake.report(entry, actor=self._actor())
        if outcome.attached:
            notices.append("该区域同类事项已有公告，您的反映已并入，可用本编号查询进展。")
        if entry.contact is not None and not outcome.attached:
            notices.append("联系方式已加密保存，只供办理单位核实情况使用。")
        return outcome, {
            "service_request_id": outcome.folded.id,
            "service_notice": "".join(notices) or None,
            "account_id": asked.get("account_id"),
        }

    def _actor(self) -> Actor:
        """Who the ledger says it was: the token's own, or the hub for somebody without one."""
        if self._caller is not None:
            return self._caller.actor
        return Actor(kind=ActorKind.SYSTEM, name="open311 anonymous")

    def _needed(self, asked: Asked) -> tuple[str, Spot]:
        """Service code and location; raises Open311Error(400) naming all that is missing, 404 for an unknown service."""
        missing = []
        code = asked.get("service_code")
        if code is None:
            missing.append("service_code was not provided")
        else:
            self._catalogue.find(code)
        spot = Spot(
            address=asked.get("address_string", most=1000) or asked.get("address", most=1000),
            address_id=asked.get("address_id", most=100),
            degrees=degrees(asked),
        )
        if spot == Spot():
            missing.append("a location was not provided: lat and long, or address_string, or address_id")
        if missing or code is None:
            raise Open311Error(400, *missing)
        return code, spot

    def _area(self, district: District, spot: Spot, description: str) -> str | None:
        """The area code where the client knows one (as address_id); the token's own area where the words name none."""
        scope = None if self._caller is None else self._caller.scope.area
        if spot.address_id is not None and district.policy.is_area(spot.address_id):
            if scope is not None and not within(spot.address_id, scope):
                raise Open311Error(400, "address_id lies outside the api_key's area")
            return spot.address_id
        if scope is not None and district.locate(f"{spot.address or ''} {description}") is None:
            return scope
        return None

    def _extras(self, asked: Asked, code: str, ours: dict[str, str], others: dict[str, str]) -> dict[str, str]:
        """The answers as they stand below the description: questions in words, then attributes nobody asked for."""
        questions = {question.code: question.description for question in self._catalogue.questions(code)}
        skipped = {*REFERENCES, "title", "description"}
        if asked.get("lat"):
            skipped |= _COORDINATES
        answers = {questions[name]: value for name, value in ours.items()}
        return answers | {name: value for name, value in others.items() if name not in skipped}


async def _files(files: tuple[UploadFile, ...]) -> tuple[EntryFile, ...]:
    """Pictures sent along (multipart); raises Open311Error(400)."""
    read = []
    for file in files:
        content = await file.read(MOST_FILE + 1)
        kind = media_type_of(content) if content else None
        if kind is None or len(content) > MOST_FILE:
            raise Open311Error(400, f"a file sent along is no picture, recording, PDF or text of at most {MOST_FILE} bytes")
        digest = hashlib.sha256(content).hexdigest()
        record = Attachment(name=safe_name(file.filename), media_type=kind, size=len(content), sha256=digest)
        read.append(EntryFile(record, content))
    return tuple(read)


def refused(problem: InvalidInput) -> Open311Error:
    """What intake would not take, in the words of this interface."""
    return Open311Error(400, f"{problem.subject or 'request'}: {problem.message}")


def _picture(asked: Asked) -> tuple[str | None, list[str]]:
    """(the media_url to keep, what the client has to be told); one with what looks personal in it can't be kept as it is."""
    url = _media_url(asked)
    if url is None or mask_text(url) == url:
        return url, []
    return None, ["图片链接含有疑似个人信息，未予保留，请改用其他链接补充。"]


def _media_url(asked: Asked) -> str | None:
    url = asked.get("media_url", most=1000)
    if url is None:
        return None
    try:
        parts = urlsplit(url)
    except ValueError as problem:
        raise Open311Error(400, "media_url is no address") from problem
    if parts.scheme not in ("http", "https") or not parts.netloc or any(letter.isspace() for letter in url):
        raise Open311Error(400, "media_url has to begin with http:// or https://")
    return url


def _title(asked: Asked, description: str, service: str) -> str:
    """The client's own title (FixMyStreet sends one), else the first line of the description, else the service's name."""
    given = first_of(asked.attributes(), ("title",)) or asked.get("title")
    first = (given or description.strip().partition("\n")[0]).strip()
    return first[:MOST_TITLE] or service


def _contact(asked: Asked, address: str | None) -> Contact | None:
    """The reporter, for the vault only. E-mail stands with the phone, account and device with the address: it has three fields.

    An address that is masked in the case (its flat) is kept whole here.
    """
    first, last = asked.get("first_name", most=100), asked.get("last_name", most=100)
    both = f"{first or ''}{last or ''}"
    name = " ".join(part for part in (first, last) if part) if _LATIN.search(both) else f"{last or ''}{first or ''}"
    reach = [part for part in (asked.get("phone", most=40), asked.get("email")) if part]
    known = [address] if address is not None and mask_text(address) != address else []
    accounts = (("账号", asked.get("account_id")), ("设备", asked.get("device_id")))
    known += [f"{label} {value}" for label, value in accounts if value]
    if not (name or reach or known):
        return None
    return Contact(name=name or None, phone=" / ".join(reach) or None, address="，".join(known) or None)
