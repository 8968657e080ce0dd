"""`hub repair …`: what does not work by itself and waits for a person; put right or dismissed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.text import Text

from hub.surfaces.cli.client import segment
from hub.surfaces.cli.session import Session, Yes, asks_hub
from hub.surfaces.cli.tables import facts, table, when

repair_app = typer.Typer(no_args_is_help=True, help="Repairs: what waits for a person to put it right.")

RepairArgument = Annotated[str, typer.Argument(metavar="ID", help="The repair's id, from the list.")]
Reason = Annotated[str, typer.Option(help="Why; kept with the repair.", show_default=False)]

KINDS: Mapping[str, str] = {
    "unmapped_status": "未对照状态",
    "unmapped_category": "未对照分类",
    "unmapped_answer": "未对照评价",
    "catalogue_changed": "目录变化",
    "disagreement": "对账不一致",
    "put_aside": "反馈搁置",
    "blocked_loop": "阻塞主循环",
    "failed_instance": "适配器启动失败",
}
STATES: Mapping[str, str] = {"open": "待处理", "resolved": "已解决", "dismissed": "已忽略"}


@asks_hub(repair_app, "list", example="hub repair list --adapter parks --kind disagreement")
def list_repairs(
    session: Session,
    adapter: Annotated[str | None, typer.Option(help="Only of this adapter.", show_default=False)] = None,
    kind: Annotated[str | None, typer.Option(help=", ".join(KINDS), show_default=False)] = None,
    state: Annotated[str, typer.Option(help="open, resolved, dismissed or all.")] = "open",
    case: Annotated[str | None, typer.Option(help="Only what names this case.", show_default=False)] = None,
    limit: Annotated[int, typer.Option(min=1, max=5000, help="At most so many.")] = 100,
) -> None:
    """List what needs repair, the latest first."""
    rows = list(session.api.pages("/repairs", limit=limit, adapter=adapter, kind=kind, state=state, case=case))
    session.answer({"items": rows}, lambda _: table(rows, _columns(session)))


@asks_hub(repair_app, "show", example="hub repair show 3f9c1a2b4d5e6f70")
def show_repair(session: Session, id: RepairArgument) -> None:
    """Show one repair: what, how often, since when, who ended it."""
    session.answer(session.api.get(f"/repairs/{segment(id)}"), lambda found: _one(session, found))


@asks_hub(repair_app, "resolve", example="hub repair resolve 3f9c1a2b4d5e6f70 --reason 已补入对照表")
def resolve(
    session: Session,
    id: RepairArgument,
    reason: Reason,
    apply: Annotated[
        bool, typer.Option("--apply", help="First take what the department says as the report that was missed.")
    ] = False,
    yes: Yes = False,
) -> None:
    """Say that it is put right; it opens again when it happens again."""
    if apply:
        found = session.api.get(f"/repairs/{segment(id)}")
        session.confirm(f"{found.get('text')} Take it over into the case?", yes=yes)
    answer = session.api.post(f"/repairs/{segment(id)}/resolve", {"reason": reason, "apply": apply})
    session.answer(answer, lambda found: _one(session, found))


@asks_hub(repair_app, "dismiss", example="hub repair dismiss 3f9c1a2b4d5e6f70 --reason 对方测试数据")
def dismiss(session: Session, id: RepairArgument, reason: Reason) -> None:
    """Leave it so: it stays dismissed until its facts change."""
    answer = session.api.post(f"/repairs/{segment(id)}/dismiss", {"reason": reason})
    session.answer(answer, lambda found: _one(session, found))


def _columns(session: Session) -> tuple[Any, ...]:
    return (
        ("编号", "id"),
        ("类别", lambda row: KINDS.get(str(row.get("kind")), row.get("kind"))),
        ("适配器", "adapter"),
        ("状态", lambda row: STATES.get(str(row.get("state")), row.get("state"))),
        ("次数", "count"),
        ("最近", when("last_at", session.zone)),
        ("事件", "case"),
        ("说明", "text"),
    )


def _one(session: Session, found: Mapping[str, Any]) -> Group:
    details = found.get("details") or {}
    more = [("可代为补记", lambda _: "是（--apply）")] if details.get("apply") and found.get("state") == "open" else []
    lines = facts(
        found,
        (
            *_columns(session),
            ("单位", "unit"),
            ("对象", "subject"),
            ("首次", when("first_at", session.zone)),
            ("重新出现", lambda row: row.get("reopened") or None),
            ("结束时间", when("ended_at", session.zone)),
            ("结束人", "ended_by"),
            ("原因", "why"),
            *more,
        ),
    )
    return Group(lines, Text(), facts(details, [(name, name) for name in details]))
