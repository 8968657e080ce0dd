"""POST requests: a form becomes one report, exactly once for a client's own reference.

The contact goes to the vault through the entry and nowhere else. What a case has no field for is kept in words (wording);
what can't be kept is refused or said in service_notice, never lost silently.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from datetime import UTC, datetime
from urllib.parse import urlsplit

from hub import Channel, Contact, DistrictFacts, IncomingCase, InvalidInput, ReportedFile, Visitor, mask_text
from hub_open311.server.asking import Asked, degrees, first_of
from hub_open311.server.catalogue import PLACE_DETAIL, Catalogue
from hub_open311.server.errors import Open311Error
from hub_open311.server.formats import Value
from hub_open311.server.wording import Spot, place_of, text_of

REFERENCES = ("fixmystreet_id", "external_id", "service_request_id_ext")
"""Attributes (and plain arguments) by which clients name a report of their own; the first that is sent counts."""
_IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,200}")
_COORDINATES = frozenset(("easting", "northing"))
MOST_DESCRIPTION = 4000
MOST_TITLE = 60
_LATIN = re.compile(r"[A-Za-z]")


def reference(asked: Asked, key: str | None, salt: str = "") -> str | None:
    """The client's own reference. None: none was given.

    `salt` tells apart clients that have no key; only its hash is kept. Raises Open311Error(400) for an Idempotency-Key that is none.
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
    return hashlib.sha256(f"{salt}\n{own}".encode()).hexdigest()[:32]


async def report(
    visitor: Visitor, district: DistrictFacts, catalogue: Catalogue, asked: Asked, ref: str | None
) -> dict[str, Value]:
    """Open a case, one for each `ref`; the answer. Raises Open311Error, and what the visitor's method raises."""
    code, spot = _needed(asked, catalogue)
    ours, others = catalogue.answers(code, asked.attributes())
    if (detail := ours.pop(PLACE_DETAIL, None)) is not None:
        spot = Spot(address=f"{spot.address or ''} {detail}".strip(), address_id=spot.address_id, degrees=spot.degrees)
    place = place_of(spot)
    description = asked.get("description", most=MOST_DESCRIPTION) or first_of(asked.attributes(), ("description",)) or ""
    extras = _extras(asked, catalogue, code, ours, others)
    picture, notices = _picture(asked)
    name = catalogue.name(code)
    contact = _contact(asked, spot.address)
    case = IncomingCase(
        ref=ref or secrets.token_hex(16),
        channel=Channel.RESIDENT,
        title=_title(asked, description, name),
        text=text_of(description or name, extras, picture=picture),
        reported_at=datetime.now(UTC),
        area=_area(visitor, district, spot, description),
        place_name=spot.address_id if spot.address_id in district.places else spot.address,
        place=place,
        position=spot.position,
        category=code,
        contact=contact,
    )
    files = [
        ReportedFile(name=file.filename or "", media_type=file.content_type or "", content=await file.read())
        for file in asked.files
    ]
    filed = await visitor.report(case, files)
    if filed.attached:
        notices.append("该区域同类事项已有公告，您的反映已并入，可用本编号查询进展。")
    elif contact is not None:
        notices.append("联系方式已加密保存，只供办理单位核实情况使用。")
    return {
        "service_request_id": filed.case,
        "service_notice": "".join(notices) or None,
        "account_id": asked.get("account_id"),
    }


def _needed(asked: Asked, catalogue: Catalogue) -> tuple[str, Spot]:
    """Service code and location; raises Open311Error(400) naming all that is missing, 404 for an unknown service."""
    missing = []
    code = asked.get("service_code")
    if code is None:
        missing.append("service_code was not provided")
    else:
        catalogue.find(code)
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


def _area(visitor: Visitor, district: DistrictFacts, spot: Spot, description: str) -> str | None:
    """The area code where the client knows one (as address_id); the key's own area where the words name none."""
    if spot.address_id is not None and district.is_area(spot.address_id):
        if not visitor.covers(spot.address_id):
            raise Open311Error(400, "address_id lies outside the api_key's area")
        return spot.address_id
    return visitor.area if district.locate(f"{spot.address or ''} {description}") is None else None


def _extras(asked: Asked, catalogue: Catalogue, code: str, ours: dict[str, str], others: dict[str, str]) -> dict[str, str]:
    """The answers as they stand below the description: questions in words, then attributes nobody asked for."""
    questions = {question.code: question.description for question in catalogue.questions(code)}
    skipped = {*REFERENCES, "title", "description"}
    if asked.get("lat"):
        skipped |= _COORDINATES
    answers = {questions[name]: value for name, value in ours.items()}
    return answers | {name: value for name, value in others.items() if name not in skipped}


def refused(problem: InvalidInput) -> Open311Error:
    """What the hub would not take, in the words of this interface."""
    about = "" if problem.subject == "files" else f"{problem.subject or 'request'}: "
    return Open311Error(400, f"{about}{problem.message}")


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
