"""`hub area|unit|status`: the district and how it stands; grids made for a division file, offline."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console, Group
from rich.text import Text

from hub.config.district import areas_csv, load_areas
from hub.errors import ConfigError
from hub.model.district.areas import Level
from hub.model.district.areatree import AreaTree
from hub.model.district.grids import HOUSEHOLDS_PER_GRID, generate_grids
from hub.surfaces.cli.adapters.instances import ADAPTER_COLUMNS
from hub.surfaces.cli.client import Failure, items_of
from hub.surfaces.cli.session import Session, asks_hub
from hub.surfaces.cli.tables import facts, table, word, worded

area_app = typer.Typer(no_args_is_help=True, help="Areas: the four-level tree.")
unit_app = typer.Typer(no_args_is_help=True, help="Units: who acts.")


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


def generate(
    divisions: Annotated[Path, typer.Argument(help="CSV with code, name, level, parent, from the district down.")],
    out: Annotated[Path | None, typer.Option(help="Write here; default: standard output.", show_default=False)] = None,
    per_grid: Annotated[int, typer.Option(min=50, help="Households of a residential grid, about.")] = HOUSEHOLDS_PER_GRID,
) -> None:
    """Add grids by the N+X rule to every community without any; households are estimated (see the module hub.model.district.grids)."""
    console = Console(stderr=True, highlight=False)
    try:
        tree = load_areas(divisions)
    except ConfigError as error:
        console.print(f"[red]{error}[/red]")
        raise typer.Exit(1) from error
    full = AreaTree([*tree, *generate_grids(tree, per_grid=per_grid)])
    text = areas_csv(full)
    if out is None:
        sys.stdout.write(text)
    else:
        out.write_text(text, encoding="utf-8")
    console.print(
        f"[green]✓[/green] {len(full.at_level(Level.GRID))} grids in {len(full.at_level(Level.COMMUNITY))} communities"
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


def _percent(share: float | None) -> str | None:
    return None if share is None else f"{share:.1%}"


def _counts(counts: Mapping[str, int] | None, kind: str) -> str:
    """How many of each, those that are there."""
    return "，".join(f"{word(kind, value)} {count}" for value, count in (counts or {}).items() if count)


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
    ("放假安排未录入", "missing_years"),
    ("解决率", lambda row: _percent(row.get("resolution_rate"))),
    ("满意率", lambda row: _percent(row.get("satisfaction_rate"))),
    ("诉求人满意度", lambda row: _counts((row.get("answers") or {}).get("satisfied"), "satisfied")),
    ("诉求人解决情况", lambda row: _counts((row.get("answers") or {}).get("solved"), "solved")),
    ("结案方式", lambda row: _counts(row.get("closings"), "closing")),
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
