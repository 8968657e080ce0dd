"""`hub case …` and `hub trace`: list, show, timeline, report, attach, contact, and one command for each command of the model."""

from __future__ import annotations

import mimetypes
from collections.abc import Mapping
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console, Group
from rich.text import Text

from hub.model.case.state import Channel, Severity
from hub.model.positions import SYSTEMS, WGS84, Position
from hub.model.words import ANSWERS
from hub.surfaces.cli.client import Failure, segment
from hub.surfaces.cli.filters import lists
from hub.surfaces.cli.generated import Key, told
from hub.surfaces.cli.session import Session, asks_hub
from hub.surfaces.cli.tables import Column, clock, facts, table, when, word, worded
from hub.views.filters import CaseFilter

case_app = typer.Typer(no_args_is_help=True, help="Cases: find them, look at them, act on them.")

CaseArgument = Annotated[str, typer.Argument(metavar="CASE", help="Case id, e.g. 320113001001001-0f3k9m2p7q.")]


@lists(case_app, "/cases", CaseFilter, example="hub case list --stage held --area 320113001 --q 下水道")
def list_cases(session: Session, rows: list[dict[str, Any]]) -> object:
    """List cases, newest first unless sorted otherwise."""
    return table(
        rows,
        (
            ("编号", "id"),
            ("状态", worded("stage")),
            ("级别", worded("severity")),
            ("标题", "title"),
            ("层级", worded("level")),
            ("承办", lambda row: row.get("holder_name") or row.get("holder")),
            ("来源", worded("channel")),
            ("登记时间", when("reported_at", session.zone)),
            ("时限", lambda row: Text(clock(row.get("due_at"), session.zone), style="red" if row.get("late") else "")),
        ),
    )


@asks_hub(case_app, "show", example="hub case show 320113001001001-0f3k9m2p7q")
def show_case(session: Session, case: CaseArgument) -> None:
    """Show one case: how it stands, its assignments with tickets and attempts, and its limits."""
    session.answer(session.api.get(f"/cases/{segment(case)}"), lambda found: _drawn(session, found))


@asks_hub(case_app, "timeline", example="hub case timeline 320113001001001-0f3k9m2p7q")
def timeline(session: Session, case: CaseArgument) -> None:
    """Show everything that happened to a case, in order."""
    answer = session.api.get(f"/cases/{segment(case)}/timeline")
    rows = answer.get("items", []) if isinstance(answer, dict) else answer
    session.answer(
        answer,
        lambda _: table(
            rows,
            (
                ("时间", when("at", session.zone)),
                ("事项", "event"),
                ("操作人", lambda row: _actor(row.get("actor"))),
                ("内容", lambda row: _telling(row.get("body"), session.zone)),
            ),
        ),
    )


@asks_hub(case_app, "report", example="hub case report --title 路灯不亮 --text 小区东门路灯三天不亮 --area 320113001001001")
def report(
    session: Session,
    title: Annotated[str, typer.Option(help="The matter in a few words.", show_default=False)],
    text: Annotated[str, typer.Option(help="What is the matter.", show_default=False)],
    channel: Annotated[Channel, typer.Option(help="Where it came from.")] = Channel.HOTLINE,
    area: Annotated[str | None, typer.Option(help="Area code, 6 to 15 digits.", show_default=False)] = None,
    place_name: Annotated[
        str | None, typer.Option(help="The place's name, looked up in places.csv.", show_default=False)
    ] = None,
    place: Annotated[str | None, typer.Option(help="Address to the building.", show_default=False)] = None,
    position: Annotated[
        str | None,
        typer.Option(
            metavar="LON,LAT[,SYSTEM[,ACCURACY]]",
            help=f"Where it is. SYSTEM: {', '.join(SYSTEMS)} or a plane of the district, wgs84 unless said; ACCURACY in metres.",
            show_default=False,
        ),
    ] = None,
    category: Annotated[str | None, typer.Option(help="Category code, when known.", show_default=False)] = None,
    severity: Annotated[Severity | None, typer.Option(help="When known.", show_default=False)] = None,
    reported_at: Annotated[str | None, typer.Option(metavar="TIME", help="When; else now.", show_default=False)] = None,
    name: Annotated[str | None, typer.Option(help="The reporter's name (kept encrypted).", show_default=False)] = None,
    phone: Annotated[str | None, typer.Option(help="The reporter's phone (kept encrypted).", show_default=False)] = None,
    address: Annotated[str | None, typer.Option(help="The reporter's address (kept encrypted).", show_default=False)] = None,
    key: Key = None,
) -> None:
    """Open a case."""
    at = session.time_of(reported_at, "--reported-at") if reported_at is not None else datetime.now(UTC)
    contact = {field: value for field, value in (("name", name), ("phone", phone), ("address", address)) if value}
    body: dict[str, object] = {
        "channel": channel.value,
        "title": title,
        "text": text,
        "reported_at": at.isoformat(),
        "area": area,
        "place_name": place_name,
        "place": place,
        "position": position and _position(position),
        "category": category,
        "severity": severity and severity.value,
        "contact": contact or None,
    }
    answer = session.api.post("/cases", {field: value for field, value in body.items() if value is not None}, key=key)
    session.answer(answer, lambda found: told("report", "", found))


@asks_hub(case_app, "attach", example="hub case attach 320113001001001-0f3k9m2p7q photo.jpg --note 现场照片")
def attach(
    session: Session,
    case: CaseArgument,
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True, help="The file.")],
    note: Annotated[str | None, typer.Option(help="What it shows.", show_default=False)] = None,
    key: Key = None,
) -> None:
    """Add a photo, recording, PDF or text to a case (the hub looks at the content to tell which)."""
    kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    answer = session.api.upload(f"/cases/{segment(case)}/attachments", file, kind, {"note": note} if note else {}, key=key)
    session.answer(answer, lambda found: told("attach", case, found))


@asks_hub(case_app, "contact", example="hub case contact 320113001001001-0f3k9m2p7q --purpose 回访")
def contact(
    session: Session,
    case: CaseArgument,
    purpose: Annotated[str, typer.Option(help="What for; the access is recorded on the case.", show_default=False)],
) -> None:
    """Read the reporter's contact. Who reads it and why is recorded before it is shown."""
    session.answer(
        session.api.get(f"/cases/{segment(case)}/contact", purpose=purpose),
        lambda found: facts(found, (("姓名", "name"), ("电话", "phone"), ("住址", "address"))),
    )


def trace(
    session: Session,
    case: Annotated[str, typer.Argument(metavar="CASE", help="Case id.")],
    width: Annotated[int | None, typer.Option(min=40, help="Columns to draw in.", show_default=False)] = None,
    events: Annotated[bool, typer.Option("--events/--no-events", help="Show what each step committed.")] = True,
) -> None:
    """Draw the whole case as one tree: every stimulus, every hop, attempt and departmental call, with times and levels."""
    from hub.observing.case_trace import from_json, render  # not at the top: the other commands need not load the tracing SDK

    def draw(found: Mapping[str, Any]) -> None:
        try:
            tree = from_json(found)
        except msgspec.ValidationError as error:
            raise Failure(f"the hub answered with a trace this version can't read: {error}") from error
        console = Console(width=width, highlight=False) if width is not None else session.console
        console.print(render(tree, zone=session.zone, happenings=events))

    session.answer(session.api.get(f"/cases/{segment(case)}/trace"), draw)


def _drawn(session: Session, case: Mapping[str, Any]) -> Group:
    zone = session.zone
    basics: list[Column] = [
        ("编号", "id"),
        ("标题", "title"),
        ("内容", "text"),
        ("状态", worded("stage")),
        ("级别", worded("severity")),
        ("分类", lambda row: row.get("category_name") or row.get("category")),
        ("来源", worded("channel")),
        ("区划", lambda row: " ".join(row.get("area_path") or ()) or row.get("area")),
        ("地点", "place"),
        ("坐标", _located),
        ("层级", worded("level")),
        ("承办", lambda row: row.get("holder_name") or row.get("holder")),
        ("规则", "rule"),
        ("登记时间", when("reported_at", zone)),
        ("办结时间", when("resolved_at", zone)),
        ("结案时间", when("closed_at", zone)),
        ("结案方式", worded("closing")),
        ("结案说明", "closing_reason"),
        ("诉求人评价", lambda row: _verdict(row.get("reporter_said"), zone)),
        ("核查意见", lambda row: _verdict(row.get("checker_said"), zone)),
        ("挂起至", when("suspended_until", zone)),
        ("重开次数", lambda row: row.get("reopened") or None),
        ("疑似重复", "duplicate_of"),
        ("并入", "merged_into"),
        ("需要关注", "attention"),
    ]
    parts: list[Any] = [facts(case, basics)]
    assignments = case.get("assignments") or []
    if assignments:
        parts += [
            Text(),
            table(
                assignments,
                (
                    ("派单", "id"),
                    ("单位", lambda row: row.get("unit_name") or row.get("unit")),
                    ("角色", worded("role")),
                    ("状态", worded("state")),
                    ("工单号", "ticket"),
                    ("投递次数", lambda row: len(row.get("attempts") or ()) or None),
                    ("最近错误", _last_error),
                    ("说明", "note"),
                    ("公开答复", "public_reply"),
                    ("单位自评", lambda row: _verdict(row.get("said"), zone)),
                ),
                title="派单",
            ),
        ]
    deadlines = case.get("deadlines") or []
    if deadlines:
        parts += [
            Text(),
            table(
                deadlines,
                (
                    ("时限", worded("kind")),
                    ("责任单位", "owner"),
                    ("派单", "assignment"),
                    ("截止", when("due_at", zone)),
                    ("超期", "late"),
                ),
                title="时限",
            ),
        ]
    return Group(*parts)


def _position(text: str) -> dict[str, object]:
    """A position as typed; raises typer.BadParameter, which names the option. Whether there is such a place the hub says."""
    parts = [part.strip() for part in text.split(",")]
    try:
        longitude, latitude = map(float, parts[:2])
        accuracy = float(parts[3]) if len(parts) == 4 else None
        if len(parts) > 4:
            raise ValueError
    except ValueError:
        problem = f"not a position: {text!r} (write 118.9123,32.1031 or 118.9123,32.1031,gcj02,15)"
        raise typer.BadParameter(problem, param_hint="--position") from None
    found = {"longitude": longitude, "latitude": latitude, "system": parts[2] if len(parts) > 2 else WGS84}
    return found if accuracy is None else {**found, "accuracy_m": accuracy}


def _located(row: Mapping[str, Any]) -> str | None:
    """A position in one line: as given, and on WGS-84 where that is another."""
    given, wgs84 = row.get("position"), row.get("wgs84")
    if not isinstance(given, Mapping):
        return None
    line = msgspec.convert(given, Position).line()
    if not isinstance(wgs84, Mapping) or given.get("system") == WGS84:
        return line
    return f"{line}（WGS-84 {wgs84.get('longitude')},{wgs84.get('latitude')}）"


def _verdict(said: object, zone: tzinfo) -> str:
    """What one party says of the result, who it was and when."""
    if not isinstance(said, Mapping):
        return ""
    words = [word(question, said[question]) for question in ANSWERS if said.get(question)]
    words += [f"{said['rating']}分"] if said.get("rating") else []
    words += [f"联系{said['tries']}次"] if said.get("tries") else []
    return f"{'，'.join(words)}（{said.get('by')} {clock(said.get('at'), zone)}）"


def _last_error(assignment: Mapping[str, Any]) -> str | None:
    attempts = assignment.get("attempts")
    for attempt in reversed(attempts if isinstance(attempts, list) else []):
        if attempt.get("error"):
            return str(attempt["error"])
    return None


def _actor(actor: object) -> str:
    if isinstance(actor, Mapping):
        return " ".join(str(actor[name]) for name in ("name", "unit") if actor.get(name))
    return str(actor or "")


def _telling(body: object, zone: tzinfo) -> str:
    """An event's own fields in one cell; long texts are cut, times are the district's."""
    words = []
    for name, value in body.items() if isinstance(body, Mapping) else ():
        if value not in (None, "", [], {}):
            text = str(value) if name == "text" else clock(value, zone) if name.endswith("_at") else word(name, value)
            text = "、".join(map(str, value)) if isinstance(value, list) else text
            words.append(f"{name}={text if len(text) <= 60 else text[:59] + '…'}")
    return " ".join(words)
