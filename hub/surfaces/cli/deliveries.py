"""`hub delivery list|show|resend|drop`: the delivery log of departments' systems, having something sent again, or giving it up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.text import Text

from hub.surfaces.cli.client import segment
from hub.surfaces.cli.filters import lists
from hub.surfaces.cli.session import Session, Yes, asks_hub
from hub.surfaces.cli.tables import facts, table, when, worded
from hub.views.filters import DeliveryFilter

delivery_app = typer.Typer(no_args_is_help=True, help="Deliveries: what went to departments' systems, and how each try ended.")

Reason = Annotated[str, typer.Option(help="Why; kept on the case.", show_default=False)]
KeyArgument = Annotated[str, typer.Argument(metavar="KEY", help="Delivery key: <case id>.<assignment>.")]

_OUTCOME = {"started": "进行中", "delivered": "已送达", "failed": "失败", "unknown": "结果不明", "refused": "被拒收"}


@lists(delivery_app, "/deliveries", DeliveryFilter, example="hub delivery list --adapter parks --state dead --state refused")
def list_deliveries(session: Session, rows: list[dict[str, Any]]) -> object:
    """List deliveries, latest attempt first. A department's token sees its own."""
    return table(
        rows,
        (
            ("投递键", "key"),
            ("标题", "title"),
            ("单位", lambda row: row.get("unit_name") or row.get("unit")),
            ("适配器", "adapter"),
            ("状态", worded("state")),
            ("结果", _outcome),
            ("次数", lambda row: len(row.get("attempts", []))),
            ("最近一次", when("tried_at", session.zone)),
            ("部门单号", "ticket"),
            ("错误", lambda row: _last(row).get("error")),
            ("HTTP", lambda row: _last(row).get("status")),
        ),
    )


@asks_hub(delivery_app, "show", example="hub delivery show 320113001001001-0f3k9m2p7q.a1")
def show_delivery(session: Session, key: KeyArgument) -> None:
    """Show one delivery with every attempt (when, how long, how it ended) and its dead letter."""

    def drawn(found: Mapping[str, Any]) -> Group:
        flat = {name: value for name, value in found.items() if name not in ("attempts", "letter")}
        attempts = table(
            found.get("attempts", []),
            (
                ("次", "number"),
                ("开始", when("started_at", session.zone)),
                ("毫秒", "duration_ms"),
                ("结果", _outcome),
                ("HTTP", "status"),
                ("错误", "error"),
                ("原因", "reason"),
                ("下次不早于", when("retry_at", session.zone)),
            ),
            title="投递记录",
        )
        letter = found.get("letter") or {}
        return Group(*(facts(part, [(name, name) for name in part]) for part in (flat, letter) if part), Text(), attempts)

    session.answer(session.api.get(f"/deliveries/{segment(key)}"), drawn)


@asks_hub(delivery_app, "resend", example="hub delivery resend 320113001001001-0f3k9m2p7q.a1 --reason 我方系统已恢复 --yes")
def resend(
    session: Session,
    key: KeyArgument,
    reason: Reason,
    again: Annotated[
        bool, typer.Option("--again", help="Also what the department's system has already; only the department may ask for it.")
    ] = False,
    yes: Yes = False,
) -> None:
    """Have a delivery sent again under the same key: nothing is filed twice."""
    session.confirm(f"Send {key} again?", yes=yes)
    body = {"reason": reason} | ({"again": True} if again else {})
    answer = session.api.post(f"/deliveries/{segment(key)}/resend", body)
    session.answer(answer, lambda _: f"✓ {key} 将重新投递")


@asks_hub(delivery_app, "drop", example="hub delivery drop 320113001001001-0f3k9m2p7q.a1 --reason 已电话转办 --yes")
def drop(session: Session, key: KeyArgument, reason: Reason, yes: Yes = False) -> None:
    """Give a dead, refused or uncertain delivery up; the case goes back to its holder."""
    session.confirm(f"Give {key} up for good?", yes=yes)
    answer = session.api.post(f"/deliveries/{segment(key)}/drop", {"reason": reason})
    session.answer(answer, lambda _: f"✓ {key} 已放弃，事件退回承办单位")


def _last(row: Mapping[str, Any]) -> Mapping[str, Any]:
    attempts = row.get("attempts") or [{}]
    last: Mapping[str, Any] = attempts[-1]
    return last


def _outcome(row: Mapping[str, Any]) -> str:
    found = str(row.get("outcome") or "")
    return _OUTCOME.get(found, found)
