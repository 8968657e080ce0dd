"""Request bodies: read strictly by msgspec, described in the OpenAPI document from the same structs.

A command's body is its own struct without what only the hub says, unknown fields refused, texts limited in length and masked.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar, cast, get_type_hints

import msgspec
from starlette.requests import Request

from hub.api.problems import Failure, FieldError
from hub.model import commands
from hub.model.cases import Channel, Role, Severity
from hub.model.commands import AnyCommand
from hub.privacy import mask_text

T = TypeVar("T")

MOST_TEXT = 2_000
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=MOST_TEXT, pattern=r"\S")]
Word = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Aware = Annotated[datetime, msgspec.Meta(tz=True)]
AreaText = Annotated[str, msgspec.Meta(pattern=r"^\d{6,15}$", max_length=15)]
CaseText = Annotated[str, msgspec.Meta(pattern=r"^\d{15}-[0-9a-hjkmnp-tv-z]{10,26}$", max_length=42)]

EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
LATEST = datetime(2200, 1, 1, tzinfo=UTC)
"""Between them lies every time a body may name: limits are reckoned from it and zones applied without leaving the calendar."""

_FREE = ("reason", "note", "message", "text", "task")
_HUB_SAYS = ("by", "attachments", "fields")
"""Fields a person does not fill in: who it was is the token's, files go to …/attachments."""
_PATH = re.compile(r" - at `\$\.?(?P<path>[^`]*)`$")

GIVEN: tuple[type[commands.Command], ...] = (
    commands.Triage,
    commands.Claim,
    commands.Dispatch,
    commands.Escalate,
    commands.Delegate,
    commands.Settle,
    commands.Reassign,
    commands.Recall,
    commands.Accept,
    commands.Progress,
    commands.Resolve,
    commands.Return,
    commands.Visit,
    commands.Close,
    commands.Reopen,
    commands.Ask,
    commands.Approve,
    commands.Decline,
    commands.Suspend,
    commands.Resume,
    commands.Extend,
    commands.Urge,
    commands.Supervise,
    commands.Comment,
    commands.Void,
    commands.Merge,
    commands.Replay,
    commands.Drop,
    commands.EraseContact,
)
"""The commands people may give through `POST /cases/{id}/{command}`."""

EXAMPLES: Mapping[str, dict[str, object]] = {
    "triage": {"category": "P0103", "severity": "ordinary", "reason": "现场查看后改类"},
    "claim": {"note": "已到现场查看"},
    "dispatch": {
        "targets": [
            {"unit": "drainage", "role": "lead", "task": "疏通下水道"},
            {"unit": "water", "role": "support", "required": False},
        ],
        "note": "请今日内处理",
    },
    "escalate": {"reason": "涉及两个社区，需街道协调"},
    "delegate": {"reason": "属社区职责"},
    "settle": {"note": "已现场劝导，停车恢复有序"},
    "reassign": {"assignment": "a1", "unit": "water", "reason": "主管单位应为供水公司"},
    "recall": {"assignment": "a1", "reason": "派单有误"},
    "accept": {"assignment": "a1", "note": "已安排人员"},
    "progress": {"assignment": "a1", "note": "正在抢修"},
    "resolve": {"assignment": "a1", "note": "管道已疏通"},
    "return": {"assignment": "a1", "reason": "不属本单位管辖"},
    "visit": {"reached": True, "solved": True, "satisfied": True, "rating": 5},
    "close": {"reason": "无需回访"},
    "reopen": {"reason": "问题再次出现"},
    "ask": {"what": "extension", "reason": "需采购配件", "assignment": "a1", "kind": "finish", "until": "2026-03-01T10:00:00Z"},
    "approve": {"request": "q1"},
    "decline": {"request": "q1", "reason": "理由不充分"},
    "suspend": {"reason": "等待施工许可", "until": "2026-03-01T10:00:00Z"},
    "resume": {"reason": "许可已下达"},
    "extend": {"kind": "resolve", "until": "2026-03-01T10:00:00Z", "reason": "需跨部门会商"},
    "urge": {"message": "请尽快处理", "assignment": "a1"},
    "supervise": {"message": "区领导督办，请于今日报告", "assignment": "a1"},
    "comment": {"text": "居民补充：夜间更严重"},
    "void": {"reason": "测试工单"},
    "merge": {"into": "320113001001001-01jd8x2m9qk3v5wz", "reason": "同一路灯"},
    "replay": {"assignment": "a1", "reason": "对方系统已恢复"},
    "drop": {"assignment": "a1", "reason": "改由电话通知"},
    "erase_contact": {"reason": "诉求人要求删除个人信息"},
}


class ContactBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The reporter; kept encrypted, shown to nobody but those who handle the case."""

    name: Annotated[str, msgspec.Meta(max_length=100)] | None = None
    phone: Annotated[str, msgspec.Meta(max_length=40)] | None = None
    address: Annotated[str, msgspec.Meta(max_length=300)] | None = None


class ReportBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A report. `area` (code) wins over `place_name`; without both a place is looked for in the text."""

    title: Annotated[str, msgspec.Meta(max_length=200)] = ""
    text: Annotated[str, msgspec.Meta(max_length=20_000)] = ""
    channel: Channel = Channel.RESIDENT
    reported_at: Aware | None = None
    area: AreaText | None = None
    place_name: Annotated[str, msgspec.Meta(max_length=100)] | None = None
    place: Annotated[str, msgspec.Meta(max_length=200)] | None = None
    category: Word | None = None
    severity: Severity | None = None
    contact: ContactBody | None = None
    covers: Annotated[tuple[AreaText, ...], msgspec.Meta(max_length=200)] = ()
    covers_until: Aware | None = None


REPORT_EXAMPLE: dict[str, object] = {
    "title": "下水道堵塞",
    "text": "3栋楼下污水外溢两天了，气味很大。",
    "channel": "resident",
    "area": "320113",
    "place": "幸福家园3栋",
    "contact": {"name": "张三", "phone": "13800001234"},
}


class ReasonBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why."""

    reason: Text


class TokenBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A token to be made. `area`: the code it sees at and below (default: the district); `unit`: who acts with it."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=100, pattern=r"\S")]
    role: str
    area: AreaText | None = None
    unit: Word | None = None
    scopes: Annotated[tuple[Word, ...], msgspec.Meta(min_length=1, max_length=20)] | None = None
    expires_at: Aware | None = None


class KeyBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A department's key to be made. `unit`: only an administrator says it; `expires_at`: not later than the own token's."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=100, pattern=r"\S")]
    scopes: Annotated[tuple[Word, ...], msgspec.Meta(min_length=1, max_length=20)]
    expires_at: Aware | None = None
    unit: Word | None = None


class ResendBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why something is to be sent again. `again`: also what the department's system has already, under the same key."""

    reason: Text
    again: bool = False


class ExplainBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A matter to be routed without opening a case."""

    text: Annotated[str, msgspec.Meta(max_length=20_000)]
    title: Annotated[str, msgspec.Meta(max_length=200)] = ""
    area: AreaText | None = None
    channel: Channel = Channel.RESIDENT
    category: Word | None = None
    severity: Severity | None = None
    at: Aware | None = None


class PolicyBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A policy to be published: the text of every file by its name."""

    sources: Annotated[dict[str, str], msgspec.Meta(min_length=1, max_length=50)]


def tag_of(command: type[commands.Command]) -> str:
    """The command's stored name, which is also the last part of its path."""
    return str(command.__struct_config__.tag)


def body_of(command: type[commands.Command]) -> type[msgspec.Struct]:
    """The strict form of a command's body."""
    hints = get_type_hints(command, include_extras=True)
    fields: list[Any] = []
    for field in msgspec.structs.fields(command):
        if field.name in _HUB_SAYS:
            continue
        kind = _limited(field.name, hints[field.name])
        fields.append((field.name, kind) if field.required else (field.name, kind, field.default))
    return msgspec.defstruct(
        f"{command.__name__}Body",
        fields,
        namespace={"__doc__": command.__doc__},
        module=__name__,
        frozen=True,
        kw_only=True,
        forbid_unknown_fields=True,
    )


class TargetBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One unit to dispatch to."""

    unit: Word
    role: Role = Role.LEAD
    required: bool = True
    task: Text | None = None


def _limited(name: str, kind: Any) -> Any:
    """The same type, limited: lengths, offsets of times, form of ids."""
    optional = type(None) in getattr(kind, "__args__", ())
    bare: Any
    if name == "targets":
        return Annotated[tuple[TargetBody, ...], msgspec.Meta(max_length=20)]
    if name == "rating":
        bare = Annotated[int, msgspec.Meta(ge=1, le=5)]
    elif name == "what":
        bare = Annotated[str, msgspec.Meta(pattern="^(suspension|extension)$")]
    elif name == "into":
        bare = CaseText
    elif name == "area":
        bare = AreaText
    elif name in ("until", "reported_at"):
        bare = Aware
    elif name in _FREE:
        bare = Text
    elif name in ("assignment", "request", "unit", "category"):
        bare = Word
    else:
        return kind
    return bare | None if optional else bare


def command_from(command: type[commands.Command], body: msgspec.Struct) -> AnyCommand:
    """The command a body asks for, its texts masked: nothing personal gets into the ledger by a remark."""
    values: dict[str, Any] = {}
    for field in msgspec.structs.fields(body):
        value = getattr(body, field.name)
        if field.name in _FREE and value is not None:
            value = mask_text(value)
        elif field.name == "targets":
            value = tuple(
                commands.Target(
                    unit=target.unit, role=target.role, required=target.required, task=target.task and mask_text(target.task)
                )
                for target in value
            )
        values[field.name] = value
    return cast("AnyCommand", command(**values))


async def read_body(request: Request, kind: type[T], *, optional: bool = False) -> T:
    """The request's JSON body; an empty one stands for `{}` when `optional`.

    Raises Failure: 415 for another content type, 400 when it is no JSON, 422 naming the field.
    """
    raw = await request.body()
    if not raw and optional:
        raw = b"{}"
    else:
        media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media != "application/json":
            raise Failure(415, "unsupported_media_type", "Send application/json.")
    return decode(raw, kind)


def decode(raw: bytes, kind: type[T]) -> T:
    """Read JSON into a struct; raises Failure 400 or 422."""
    try:
        body = msgspec.json.decode(raw, type=kind)
    except msgspec.ValidationError as problem:
        text = str(problem)
        found = _PATH.search(text)
        message = text[: found.start()] if found else text
        field = found["path"] if found else ""
        named = re.search(r"field `([^`]+)`", message)
        if named is not None:
            field = f"{field}.{named[1]}" if field else named[1]
        raise Failure(422, "invalid_input", text, errors=(FieldError(field=field or "body", message=message),)) from problem
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
        raise Failure(400, "malformed", "The body is no JSON in UTF-8.") from problem
    if isinstance(body, msgspec.Struct):
        for name in body.__struct_fields__:
            value = getattr(body, name)
            if isinstance(value, datetime) and not EARLIEST <= value < LATEST:
                message = f"a time from {EARLIEST.year} to {LATEST.year - 1}"
                raise Failure(422, "invalid_input", f"{name}: {message}", errors=(FieldError(field=name, message=message),))
    return body
