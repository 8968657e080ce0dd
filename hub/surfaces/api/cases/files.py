"""Attachments: uploaded by multipart, typed by their content, given back as downloads only.

Refuses more than 10 MiB, empty files and kinds of content nobody needs as evidence. Whoever sees a file's case may read the file.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Path, Request
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.responses import Response

from hub.errors import NotAllowed
from hub.model.case.commands import Attach
from hub.model.case.state import CaseId
from hub.model.records import Attachment
from hub.privacy.masks import mask_file_name, mask_text
from hub.surfaces.api.answers import REPLAYED, SEQUENCE, Answered, KeyHeader, answer, command_id, settle, utc_now, wrote
from hub.surfaces.api.cases.models import AttachedAnswer
from hub.surfaces.api.cases.present import Presenter
from hub.surfaces.api.cases.routes import CasePath
from hub.surfaces.api.matters.kinds import file_under
from hub.surfaces.api.openapi import refuses
from hub.surfaces.api.people.auth import CallerHere, ServicesHere, Worker
from hub.surfaces.api.problems import Failure, FieldError
from hub.views.queries import SeenFile

MOST = 10 * 1024 * 1024
"""Bytes of one file."""

router = APIRouter(tags=["attachments"])

_UPLOAD: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": {"type": "string", "format": "binary", "description": "At most 10 MiB"},
                        "note": {"type": "string", "maxLength": 2000},
                    },
                }
            }
        },
    }
}
_DOWNLOAD: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The file",
        "content": {"*/*": {"schema": {"type": "string", "format": "binary"}}},
    }
}
_MEDIA_TYPE = re.compile(r"[a-z]{1,20}/[A-Za-z0-9.+-]{1,80}")
_MAGIC = (
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"%PDF-", "application/pdf"),
    (b"ID3", "audio/mpeg"),
    (b"#!AMR", "audio/amr"),
)


def media_type_of(content: bytes) -> str | None:
    """A file's type, by its first bytes; None for a type that is not accepted. The sender's word counts for nothing."""
    for magic, kind in _MAGIC:
        if content.startswith(magic):
            return kind
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "image/webp"
    if content[4:8] == b"ftyp":
        return "image/heic" if content[8:12] in (b"heic", b"heix", b"mif1") else "video/mp4"
    if b"\x00" in content:
        return None
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return None if content.lstrip()[:1] == b"<" else "text/plain"


def safe_name(name: str | None) -> str:
    """A file name as it may be kept, `file` when nothing is left of it."""
    return mask_file_name(name or "") or "file"


@router.post(
    "/cases/{id}/attachments",
    status_code=201,
    summary="Add a file to a case",
    openapi_extra=_UPLOAD,
)
async def attach(
    request: Request, services: ServicesHere, caller: Worker, id: CasePath, key: KeyHeader = None
) -> Answered[AttachedAnswer]:
    """Store a photo, recording, PDF or text and put it on the timeline."""
    folded = caller.must_see(await services.desk.load(CaseId(id)))
    file_under(id)
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise Failure(415, "unsupported_media_type", "Send multipart/form-data with a part named file.")
    name, content, note = await _upload(request)
    kind = media_type_of(content)
    if kind is None:
        raise Failure(415, "unsupported_media_type", "Photos, recordings, PDF and plain text are taken.")
    digest = hashlib.sha256(content).hexdigest()
    stored = Attachment(name=safe_name(name), media_type=kind, size=len(content), sha256=digest)
    known = stored in folded.state.attachments and not folded.state.contact_erased  # it is there, perhaps as the reporter's own
    if not known:
        await services.objects.put(content)
    outcome = await services.desk.execute(
        folded.id,
        Attach(attachment=stored, note=note and mask_text(note)),
        actor=caller.actor,
        command_id=command_id(caller, key),
        cause=folded.last_trace,
    )
    if known and outcome.events:  # erased in between
        await services.objects.put(content)
    wrote(request, caller, outcome.sequence)
    headers = {SEQUENCE: str(outcome.sequence), "Location": f"/api/v1/attachments/{digest}"}
    if outcome.repeated:
        headers[REPLAYED] = "true"
    shown = Presenter(services.district(), caller, utc_now()).case(outcome.folded)
    return answer(
        AttachedAnswer(attachment=stored, case=shown, sequence=outcome.sequence, repeated=outcome.repeated), 201, headers
    )


async def _upload(request: Request) -> tuple[str | None, bytes, str | None]:
    """(name, content, note) of a multipart request; raises Failure."""
    try:
        async with request.form(max_files=1, max_fields=4, max_part_size=16 * 1024) as form:
            file, note = form.get("file"), form.get("note")
            if not isinstance(file, UploadFile):
                raise _field("file", "a file is needed")
            if note is not None and (not isinstance(note, str) or len(note) > 2000):
                raise _field("note", "at most 2000 characters")
            content = await file.read(MOST + 1)
            name = file.filename
    except (HTTPException, UnicodeError) as problem:  # UnicodeError: a charset of the caller's choice
        raise Failure(400, "malformed", "The multipart body can't be read.") from problem
    if isinstance(note, str) and any(unicodedata.category(letter) == "Cs" for letter in note):
        raise _field("note", "is no text in UTF-8")
    if len(content) > MOST:
        raise Failure(413, "too_large", f"At most {MOST} bytes.", errors=(FieldError(field="file", message="too large"),))
    if not content:
        raise _field("file", "is empty")
    return name, content, note.strip() or None if isinstance(note, str) else None


def _field(name: str, message: str) -> Failure:
    return Failure(422, "invalid_input", f"{name}: {message}", errors=(FieldError(field=name, message=message),))


@router.get("/attachments/{sha256}", summary="Download a file", responses=_DOWNLOAD | refuses())
async def download(
    request: Request,
    services: ServicesHere,
    caller: CallerHere,
    sha256: Annotated[str, Path(pattern="^[0-9a-f]{64}$")],
) -> Response:
    """The file, never shown in place. Browsers are told to save it, and not to guess its type."""
    await settle(request, caller, fresh=False)
    for known in await services.views.file(sha256, caller.scope):
        content = await services.objects.get(sha256, of=known.owner)
        if content is not None:
            return _download(content, known)
    raise NotAllowed("no such file")


def _download(content: bytes, known: SeenFile) -> Response:
    headers = {
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(known.name, safe='')}",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "Cache-Control": "private, max-age=3600",
    }
    # The type comes from a department; a header gets it only if it is surely a type.
    kind = known.media_type if _MEDIA_TYPE.fullmatch(known.media_type) else "application/octet-stream"
    return Response(content, 200, headers, kind)
