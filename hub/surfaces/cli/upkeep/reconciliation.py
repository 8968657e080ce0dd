"""`hub adapter reconcile|crosswalk|catalogue`: whether both sides agree, what their words mean to us, and their categories."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from rich.console import Group, RenderableType
from rich.text import Text

from hub.model.words import SAYINGS
from hub.surfaces.cli.client import Failure, items_of, segment
from hub.surfaces.cli.session import Session, Yes, asks_hub
from hub.surfaces.cli.tables import facts, table, when, word

Name = Annotated[str, typer.Argument(metavar="ADAPTER", help="Name of the adapter instance.")]
TABLES = ("statuses", "categories", "fields", "reached", "solved", "satisfied")
_STATES: Mapping[str, str] = {
    "asked": "已提出",
    "running": "进行中",
    "waiting": "稍后重试",
    "done": "完成",
    "failed": "失败",
    "skipped": "未进行",
}
_WHAT: Mapping[str, str] = {
    "missing_there": "部门无此工单",
    "unknown_here": "中枢无此工单",
    "ended_there": "部门已办结或退回",
    "open_there": "部门仍在办",
    "arrived_there": "部门已收到",
}
_LOOK_EVERY = 0.5


def reconcile(
    session: Session,
    name: Name,
    list: Annotated[bool, typer.Option("--list", help="Only show the last runs.")] = False,
    wait: Annotated[int, typer.Option(min=0, help="Seconds to wait for the result; 0: only ask for it.")] = 900,
) -> None:
    """Compare our assignments with what the department lists, now; each disagreement becomes a repair (`hub repair list`)."""
    path = f"/adapters/{segment(name)}/reconciliations"
    if list:
        found = session.api.get(path)
        session.answer(found, lambda answer: _runs(session, answer))
        return
    asked = session.api.post(path)
    run: Mapping[str, Any] = asked
    until = time.monotonic() + wait
    while run.get("state") in ("asked", "running", "waiting") and time.monotonic() < until:
        time.sleep(_LOOK_EVERY)
        known = items_of(session.api.get(path))
        run = next((one for one in known if one.get("run") == asked.get("run")), run)
    session.answer(run, lambda answer: facts(answer, _run_columns(session)))
    if run.get("state") in ("failed", "skipped"):
        raise Failure(f"not reconciled: {run.get('reason')}")


def crosswalk(
    session: Session,
    name: Name,
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="[FILE]",
            help=f"YAML or JSON with {', '.join(TABLES)}; none: show.",
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would have come out differently so far.")] = False,
    untried: Annotated[bool, typer.Option("--untried", help="Do not ask the department's system first.")] = False,
    note: Annotated[str, typer.Option("--note", help="Why; kept in the history.", show_default=False)] = "",
) -> None:
    """Show, try dry or change what the department's words and our categories are taken as.

    A table that the file does not have stays; one that it has replaces the instance's own entries. `hub adapter rollback` takes it back.
    """
    path = f"/adapters/{segment(name)}/crosswalk"
    if file is None:
        if dry_run:
            raise Failure("a dry run needs a file")
        session.answer(session.api.get(path), lambda found: _shown(session, found))
        return
    tables = read_tables(file)
    if dry_run:
        session.answer(session.api.post(f"{path}/dry-run", tables), lambda found: _dry(session, found))
        return
    session.answer(session.api.post(path, {**tables, "note": note, "untried": untried}), lambda found: _shown(session, found))


def catalogue(
    session: Session,
    name: Name,
    accept: Annotated[bool, typer.Option("--accept", help="Take over what the department says now.")] = False,
    yes: Yes = False,
) -> None:
    """Show the department's own categories: what came, went and changed its name since they were accepted."""
    path = f"/adapters/{segment(name)}/catalogue"
    found = session.api.get(path)
    if not accept:
        session.answer(found, lambda answer: _catalogue(session, answer))
        return
    if not session.as_json:
        session.console.print(_catalogue(session, found))
    session.confirm(f"Accept this as the catalogue of {name}?", yes=yes)
    taken = session.api.post(f"{path}/accept", {"seen": found.get("seen")})
    session.answer(taken, lambda answer: f"✓ 已采纳为第 {answer['accepted']['version']} 版")


def add_reconciling(app: typer.Typer) -> None:
    """Register the commands on `hub adapter`."""
    asks_hub(app, "reconcile", example="hub adapter reconcile parks")(reconcile)
    asks_hub(app, "crosswalk", example="hub adapter crosswalk parks crosswalk.yaml --dry-run")(crosswalk)
    asks_hub(app, "catalogue", example="hub adapter catalogue parks --accept")(catalogue)


def read_tables(file: Path) -> dict[str, dict[str, str]]:
    """The tables of a crosswalk file, YAML or JSON. Raises Failure naming file and entry."""
    try:
        text = file.read_text(encoding="utf-8")
        found = json.loads(text) if file.suffix == ".json" else yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506 - `yes` is a word
    except OSError as error:
        raise Failure(f"{file}: {error.strerror}") from error
    except (ValueError, yaml.YAMLError) as error:
        raise Failure(f"{file} can't be read: {str(error).splitlines()[0]}") from error
    if not isinstance(found, Mapping) or not found or not set(found) <= set(TABLES):
        raise Failure(f"{file}: only {', '.join(TABLES)} are expected, each a table of words")
    tables: dict[str, dict[str, str]] = {}
    for name, entries in found.items():
        if not isinstance(entries, Mapping):
            raise Failure(f"{file}: {name}: a table of words is expected")
        tables[str(name)] = {str(key): str(value) for key, value in entries.items()}
    return tables


def _kind(value: object) -> str:
    return "未对照（按进展）" if value is None else SAYINGS.get(str(value), str(value))


def _counts(row: Mapping[str, Any]) -> str:
    return "、".join(f"{_WHAT.get(what, what)} {number}" for what, number in (row.get("found") or {}).items()) or "无"


def _run_columns(session: Session) -> tuple[Any, ...]:
    return (
        ("对账", "run"),
        ("状态", lambda row: _STATES.get(str(row.get("state")), row.get("state"))),
        ("发起", "by"),
        ("开始", when("began_at", session.zone)),
        ("结束", when("ended_at", session.zone)),
        ("部门工单", "theirs"),
        ("中枢派单", "ours"),
        ("一致", "agreed"),
        ("不一致", _counts),
        ("自动解决", "resolved"),
        ("分类目录", "catalogue"),
        ("说明", "reason"),
    )


def _runs(session: Session, answer: Mapping[str, Any]) -> Group:
    following = facts(answer, (("下次对账", when("next_at", session.zone)),))
    return Group(table(items_of(answer), _run_columns(session)), Text(), following)


def _shown(session: Session, found: Mapping[str, Any]) -> Group:
    own = found.get("own") or {}
    parts: list[RenderableType] = []
    tables = (("状态", "statuses"), ("分类", "categories"), ("字段", "fields"), ("联系结果", "reached"), ("解决情况", "solved"))
    for title, name in (*tables, ("满意度", "satisfied")):
        rows = [
            {
                "from": key,
                "to": _kind(target) if name == "statuses" else word(name, target),
                "where": "实例" if key in (own.get(name) or ()) else "插件",
            }
            for key, target in (found.get(name) or {}).items()
        ]
        parts += [table(rows, ((title, "from"), ("对应", "to"), ("来源", "where"))), Text()]
    heard = found.get("words") or []
    parts.append(
        table(
            heard,
            (
                ("听到的状态词", "word"),
                ("次数", "count"),
                ("最近", when("last_at", session.zone)),
                ("当时对应", lambda row: _kind(row.get("result"))),
            ),
        )
    )
    return Group(*parts)


def _dry(session: Session, found: Mapping[str, Any]) -> Group:
    words = table(
        found.get("words") or [],
        (
            ("状态词", "word"),
            ("现在", lambda row: _kind(row.get("before"))),
            ("改后", lambda row: _kind(row.get("after"))),
            ("次数", "count"),
            ("最近", when("last_at", session.zone)),
            (
                "涉及在办",
                lambda row: [f"{one['key']}（{word('state', one['state'])}）" for one in row.get("concerned") or ()],
            ),
        ),
        title="状态词会有不同的含义",
    )
    categories = table(
        found.get("categories") or [],
        (
            ("分类", "code"),
            ("名称", "name"),
            ("件数", "count"),
            ("在办", "open"),
            ("现在", lambda row: row.get("before") or "未对照"),
            ("改后", lambda row: row.get("after") or "未对照"),
            ("变化", "changed"),
        ),
        title="经过该适配器的分类",
    )
    fields = table(found.get("fields") or [], (("字段", "field"), ("现在", "before"), ("改后", "after")), title="字段名变化")
    missing = facts(found, (("仍未对照的状态词", "unmapped_words"), ("仍未对照的分类", "unmapped_categories")))
    return Group(words, Text(), categories, Text(), fields, Text(), missing, Text("试算，未作任何更改"))


def _catalogue(session: Session, found: Mapping[str, Any]) -> Group:
    accepted, drift = found.get("accepted") or {}, found.get("drift") or {}
    rows: list[dict[str, Any]] = [{"what": "新增", "code": code, "now": name} for code, name in drift.get("came", {}).items()]
    rows += [{"what": "取消", "code": code, "before": name} for code, name in drift.get("went", {}).items()]
    rows += [
        {"what": "改名", "code": code, "before": before, "now": now} for code, (before, now) in drift.get("renamed", {}).items()
    ]
    rows += [
        {"what": "对照表指向已无的编码", "code": theirs, "before": ours} for ours, theirs in drift.get("dangling", {}).items()
    ]
    head = facts(
        {**accepted, "seen_at": found.get("seen_at"), "number": len(accepted.get("codes") or {})},
        (
            ("已采纳版本", "version"),
            ("采纳时间", when("at", session.zone)),
            ("采纳人", "by"),
            ("分类数", "number"),
            ("最近读取", when("seen_at", session.zone)),
        ),
    )
    return Group(head, Text(), table(rows, (("变化", "what"), ("编码", "code"), ("原来", "before"), ("现在", "now"))))
