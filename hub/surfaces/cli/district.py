"""`hub area|unit|token|trace|status`: the district, tokens, and one case's trace."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console, Group
from rich.text import Text

from hub.surfaces.cli.adapters import ADAPTER_COLUMNS
from hub.surfaces.cli.client import Failure, items_of, segment
from hub.surfaces.cli.session import Session, asks_hub
from hub.surfaces.cli.tables import facts, table, when, word, worded

area_app = typer.Typer(no_args_is_help=True, help="Areas: the four-level tree.")
unit_app = typer.Typer(no_args_is_help=True, help="Units: who acts.")
token_app = typer.Typer(no_args_is_help=True, help="API tokens.")

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do it without asking.")]


@asks_hub(area_app, "list", example="hub area list --level street")
def list_areas(
    session: Session,
    level: Annotated[str | None, typer.Option(help="grid, community, street or district.", show_default=False)] = None,
    under: Annotated[str | None, typer.Option(help="Only this area and below.", show_default=False)] = None,
) -> None:
    """List the areas, a code for each."""
    rows = [
        row
        for row in items_of(session.api.get("/areas"))
        if (level is None or word("level", row.get("level")) == word("level", level))
        and (under is None or str(row.get("code", "")).startswith(under))
    ]
    session.answer({"items": rows}, lambda _: table(rows, _AREA))


@asks_hub(area_app, "show", example="hub area show 320113001")
def show_area(session: Session, code: Annotated[str, typer.Argument(help="Area code.")]) -> None:
    """Show one area, what lies directly below it, and who acts there."""
    rows = items_of(session.api.get("/areas"))
    found = next((row for row in rows if row.get("code") == code), None)
    if found is None:
        raise Failure(f"no such area: {code}")
    below = [row for row in rows if row.get("parent") == code]
    acting = [row for row in items_of(session.api.get("/units")) if _serves(row, code)]
    session.answer(
        {**found, "children": below, "units": acting},
        lambda _: Group(
            facts(found, _AREA), Text(), table(below, _AREA, title="下辖"), Text(), table(acting, _UNIT, title="单位")
        ),
    )


@asks_hub(unit_app, "list", example="hub unit list --kind department")
def list_units(
    session: Session,
    kind: Annotated[str | None, typer.Option(help="centre, street, community, grid or department.", show_default=False)] = None,
    area: Annotated[str | None, typer.Option(help="Only those that serve this area.", show_default=False)] = None,
) -> None:
    """List the units."""
    rows = [
        row
        for row in items_of(session.api.get("/units"))
        if (kind is None or row.get("kind") == kind) and (area is None or _serves(row, area))
    ]
    session.answer({"items": rows}, lambda _: table(rows, _UNIT))


@asks_hub(token_app, "issue", example="hub token issue --name 张班长 --role grid_worker --unit 320113001001001")
def issue(
    session: Session,
    name: Annotated[str, typer.Option(help="Whose it is.", show_default=False)],
    role: Annotated[
        str, typer.Option(help="admin, operator, clerk, grid_worker, department, devops or viewer.", show_default=False)
    ],
    unit: Annotated[str | None, typer.Option(help="The unit it acts for.", show_default=False)] = None,
    area: Annotated[str | None, typer.Option(help="Area it is limited to.", show_default="the unit's own, else yours")] = None,
    scope: Annotated[
        list[str] | None, typer.Option(help="Only this of what its role may; may be repeated.", show_default=False)
    ] = None,
    expires: Annotated[str | None, typer.Option(help="Until when: ISO time.", show_default=False)] = None,
) -> None:
    """Issue a token. It is shown this once; the hub keeps only its hash."""
    given = (("name", name), ("role", role), ("unit", unit), ("area", area), ("scopes", scope))
    body: dict[str, object] = {field: value for field, value in given if value}
    if expires is not None:
        body["expires_at"] = session.time_of(expires, "--expires").isoformat()
    session.answer(session.api.post("/tokens", body), lambda found: Text(str(found.get("token", ""))))


@asks_hub(token_app, "list", example="hub token list")
def list_tokens(session: Session) -> None:
    """List the tokens (never the tokens themselves)."""
    answer = session.api.get("/tokens")
    session.answer(
        answer,
        lambda found: table(
            items_of(found),
            (
                ("编号", "id"),
                ("名称", "name"),
                ("角色", "role"),
                ("单位", "unit"),
                ("区划", "area"),
                ("权限", lambda row: "全部" if row.get("scopes") is None else "、".join(row["scopes"])),
                ("签发时间", when("issued_at", session.zone)),
                ("到期", when("expires_at", session.zone)),
                ("最近使用", when("last_used_at", session.zone)),
            ),
        ),
    )


@asks_hub(token_app, "revoke", example="hub token revoke 3f9c1a2b4d5e6f70 --yes")
def revoke(
    session: Session, id: Annotated[str, typer.Argument(help="The token's id, from the list.")], yes: Yes = False
) -> None:
    """Revoke a token at once."""
    session.confirm(f"Revoke token {id}?", yes=yes)
    session.answer(session.api.delete(f"/tokens/{segment(id)}"), lambda _: f"✓ {id} 已吊销")


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


def status(session: Session) -> None:
    """Say in one screen how the hub stands: cases by stage, what needs a person, adapters that don't deliver."""

    def draw(found: Mapping[str, Any]) -> Group:
        parts: list[Any] = [facts(found, _FIGURES), Text()]
        stages = [{"stage": name, "count": count} for name, count in (found.get("stages") or {}).items() if count]
        parts.append(table(stages, (("状态", worded("stage")), ("事件", "count"))))
        units = [row for row in found.get("units") or () if row.get("assignments")]
        if units:
            parts += [Text(), table(units, _UNIT_FIGURES, title="各单位派单")]
        down = [
            row
            for row in items_of(session.api.get("/adapters"))
            if row.get("state") == "paused" or row.get("breaker") == "open" or row.get("queued")
        ]
        if down:
            parts += [Text(), table(down, ADAPTER_COLUMNS, title="需要关注的适配器")]
        return Group(*parts)

    session.answer(session.api.get("/summary"), draw)


def add_top_level(app: typer.Typer) -> None:
    """Register `hub trace` and `hub status`."""
    asks_hub(app, "trace", example="hub trace 320113001001001-0f3k9m2p7q --width 160")(trace)
    asks_hub(app, "status", example="hub status --json")(status)


_AREA = (
    ("编码", "code"),
    ("名称", "name"),
    ("层级", worded("level")),
    ("上级", "parent"),
    ("网格类型", worded("kind", "grid_kind")),
    ("户数", "households"),
)
_UNIT = (
    ("编码", "code"),
    ("名称", "name"),
    ("类别", worded("kind")),
    ("层级", worded("level")),
    ("服务区划", "areas"),
    ("适配器", "adapter"),
)


def _milliseconds(row: Mapping[str, Any]) -> str | None:
    """p50 and p99 of the time from assigned to delivered."""
    latency = row.get("dispatch_ms")
    if not isinstance(latency, Mapping) or latency.get("p50") is None:
        return None
    return f"{latency['p50']:.0f} / {latency.get('p99') or 0:.0f} ms"


_FIGURES = (
    ("事件总数", "cases"),
    ("在办", "open"),
    ("超期", "late"),
    ("需要关注", "attention"),
    ("有死信", "dead"),
    ("已结案", "closed"),
    ("已作废", "void"),
    ("已并案", "merged"),
    ("派单", "assignments"),
    ("重试", "retries"),
    ("送达用时 p50/p99", _milliseconds),
)
_UNIT_FIGURES = (
    ("单位", lambda row: row.get("unit_name") or row.get("unit")),
    ("派单", "assignments"),
    ("在办", "open"),
    ("送达", "delivered"),
    ("办结", "resolved"),
    ("退单", "returned"),
    ("拒收", "refused"),
    ("死信", "dead"),
    ("超期", "late"),
    ("重试", "retries"),
    ("送达用时 p50/p99", _milliseconds),
)


def _serves(unit: Mapping[str, Any], area: str) -> bool:
    return any(area.startswith(str(served)) for served in unit.get("areas") or ())
