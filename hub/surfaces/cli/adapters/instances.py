"""`hub adapter …` and `hub plugin installed`: list, add, change, try on a part and roll back instances, without a restart."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.text import Text

from hub.surfaces.cli.client import Failure, items_of, segment
from hub.surfaces.cli.session import Session, Yes, asks_hub
from hub.surfaces.cli.tables import facts, table, when

adapter_app = typer.Typer(no_args_is_help=True, help="Adapters: the ways to departmental systems.")

Name = Annotated[str, typer.Argument(metavar="ADAPTER", help="Name of the adapter instance.")]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="A setting of the plugin; KEY:=JSON for anything but text.", show_default=False
    ),
]
SecretEnv = Annotated[
    list[str] | None,
    typer.Option("--secret-env", metavar="KEY=VAR", help="A setting taken from an environment variable.", show_default=False),
]
SecretFile = Annotated[
    list[str] | None,
    typer.Option("--secret-file", metavar="KEY=PATH", help="A setting taken from a file; - for stdin.", show_default=False),
]
Unset = Annotated[list[str] | None, typer.Option("--unset", metavar="KEY", help="Take a setting out.", show_default=False)]
Unit = Annotated[
    list[str] | None,
    typer.Option("--unit", help="A unit whose assignments go through it (repeat for more).", show_default=False),
]
Area = Annotated[
    list[str] | None, typer.Option("--area", help="An area it serves, with all below (repeat for more).", show_default=False)
]
Percent = Annotated[int | None, typer.Option(min=0, max=100, help="Share of the cases it serves.", show_default="100")]
PlacementOption = Annotated[
    str | None, typer.Option("--placement", help="hub, process or remote.", show_default="as the plugin asks")
]
Concurrency = Annotated[int | None, typer.Option(min=1, help="Assignments in its hands at once.", show_default=False)]
Attempts = Annotated[int | None, typer.Option(min=1, help="Attempts before a dead letter.", show_default=False)]
RateOption = Annotated[float | None, typer.Option("--rate", help="Requests a second at most.", show_default=False)]
Note = Annotated[str, typer.Option("--note", help="Why; kept in the history.", show_default=False)]
Untried = Annotated[bool, typer.Option("--untried", help="Do not ask the department's system first.")]
Sample = Annotated[bool, typer.Option("--sample", help="Also hand a marked sample assignment over: people there will see it.")]
CanaryOption = Annotated[
    list[str] | None,
    typer.Option(
        "--canary", metavar="N%|AREA", help="First for a share or an area only (repeat for more).", show_default=False
    ),
]


@asks_hub(adapter_app, "list", example="hub adapter list")
def list_adapters(session: Session) -> None:
    """List the adapters: running or not, breaker, queue, version of the settings."""
    session.answer(session.api.get("/adapters"), lambda found: table(items_of(found), ADAPTER_COLUMNS))


@asks_hub(adapter_app, "show", example="hub adapter show parks")
def show_adapter(session: Session, name: Name) -> None:
    """Show everything known about one adapter but its secrets."""
    session.answer(session.api.get(f"/adapters/{segment(name)}"), _one)


@asks_hub(adapter_app, "history", example="hub adapter history parks")
def history(session: Session, name: Name) -> None:
    """Show who changed what and when, oldest first."""
    answer = session.api.get(f"/adapters/{segment(name)}/history")
    columns = (
        ("版本", "version"),
        ("时间", when("at", session.zone)),
        ("操作", "action"),
        ("操作人", "by"),
        ("启用", "enabled"),
        ("设置版本", "settings_version"),
        ("试行", lambda row: _part(row.get("canary"))),
        ("说明", "note"),
    )
    session.answer(answer, lambda found: table(items_of(found), columns))


@asks_hub(adapter_app, "plugins", example="hub adapter plugins --look")
def plugins(
    session: Session,
    look: Annotated[bool, typer.Option("--look", help="Look for plugins installed since the hub started.")] = False,
) -> None:
    """List the installed plugins and the settings each needs."""
    answer = session.api.post("/plugins/look") if look else session.api.get("/plugins")
    columns = (
        ("名称", "name"),
        ("种类", "kind"),
        ("部门", "department"),
        ("版本", "version"),
        ("能力", "capabilities"),
        ("设置", lambda row: [*(row.get("settings") or {}).get("properties", {})]),
        ("实例", "instances"),
    )
    session.answer(answer, lambda found: table(items_of(found), columns))


@asks_hub(
    adapter_app,
    "add",
    example="hub adapter add landscaping --plugin webhook --unit landscaping --set url=https://yl.example.cn/hook"
    " --secret-env secret=YL_SECRET",
)
def add(
    session: Session,
    name: Name,
    plugin: Annotated[str, typer.Option(help="The plugin.", show_default=False)],
    set: Set = None,
    secret_env: SecretEnv = None,
    secret_file: SecretFile = None,
    unit: Unit = None,
    area: Area = None,
    percent: Percent = None,
    placement: PlacementOption = None,
    concurrency: Concurrency = None,
    attempts: Attempts = None,
    rate: RateOption = None,
    disabled: Annotated[bool, typer.Option("--disabled", help="Only add it; enable it later.")] = False,
    untried: Untried = False,
    sample: Sample = False,
    note: Note = "",
) -> None:
    """Add an adapter to the running hub. Its health is asked first; nothing is added when that fails."""
    patch = _patch(set, secret_env, secret_file, None, unit, area, percent, placement, concurrency, attempts, rate)
    body = {
        "name": name,
        "plugin": plugin,
        "set": patch,
        "enabled": not disabled,
        "note": note,
        "untried": untried,
        "sample": sample,
    }
    session.answer(session.api.post("/adapters", body), _one)


@asks_hub(adapter_app, "set", example="hub adapter set parks --secret-env secret=PARKS_SECRET --canary 10%")
def change(
    session: Session,
    name: Name,
    set: Set = None,
    secret_env: SecretEnv = None,
    secret_file: SecretFile = None,
    unset: Unset = None,
    unit: Unit = None,
    area: Area = None,
    percent: Percent = None,
    placement: PlacementOption = None,
    concurrency: Concurrency = None,
    attempts: Attempts = None,
    rate: RateOption = None,
    canary: CanaryOption = None,
    untried: Untried = False,
    sample: Sample = False,
    note: Note = "",
) -> None:
    """Change an adapter while it runs; what is in flight ends as it began. With --canary first for a part: then promote or rollback."""
    patch = _patch(set, secret_env, secret_file, unset, unit, area, percent, placement, concurrency, attempts, rate)
    if not patch:
        raise Failure("nothing to change: see --set and the other options")
    body: dict[str, object] = {"set": patch, "note": note, "untried": untried, "sample": sample}
    if canary:
        body["canary"] = _canary(canary)
    session.answer(session.api.patch(f"/adapters/{segment(name)}", body), _one)


@asks_hub(adapter_app, "canary", example="hub adapter canary parks 50%")
def widen(
    session: Session,
    name: Name,
    parts: Annotated[list[str], typer.Argument(metavar="N%|AREA...", help="A share, areas, or both.")],
    note: Note = "",
) -> None:
    """Give the candidate another part of the cases."""
    answer = session.api.post(f"/adapters/{segment(name)}/canary", {**_canary(parts), "note": note})
    session.answer(answer, _one)


@asks_hub(adapter_app, "enable", example="hub adapter enable parks")
def enable(session: Session, name: Name, untried: Untried = False, note: Note = "") -> None:
    """Let an adapter run (again); what waited goes out at the rate the department can take."""
    answer = session.api.post(f"/adapters/{segment(name)}/enable", {"untried": untried, "note": note})
    session.answer(answer, _one)


@asks_hub(adapter_app, "disable", example="hub adapter disable parks --yes")
def disable(session: Session, name: Name, yes: Yes = False, note: Note = "") -> None:
    """Stop an adapter: it ends what it has in hand, its queue waits, its callbacks are refused."""
    session.confirm(f"Disable {name}? Its assignments wait until it is enabled.", yes=yes)
    session.answer(session.api.post(f"/adapters/{segment(name)}/disable", {"note": note}), _one)


@asks_hub(adapter_app, "drain", example="hub adapter drain parks --wait")
def drain(
    session: Session,
    name: Name,
    wait: Annotated[bool, typer.Option("--wait", help="Return when nothing is in hand any more.")] = False,
    note: Note = "",
) -> None:
    """Let an adapter finish what is in hand and take nothing new, for an upgrade over there. `enable` ends it."""
    answer = session.api.post(f"/adapters/{segment(name)}/drain", {"note": note})
    with session.console.status(f"{name} 正在排空…") if wait and not session.as_json else _quiet():
        while wait and answer.get("state") == "draining":
            time.sleep(0.5)
            answer = session.api.get(f"/adapters/{segment(name)}")
    session.answer(answer, _one)


@asks_hub(adapter_app, "promote", example="hub adapter promote parks")
def promote(session: Session, name: Name, note: Note = "") -> None:
    """Use the candidate's settings for all cases."""
    session.answer(session.api.post(f"/adapters/{segment(name)}/promote", {"note": note}), _one)


@asks_hub(adapter_app, "rollback", example="hub adapter rollback parks --note 新证书有误")
def rollback(session: Session, name: Name, note: Note = "") -> None:
    """Drop the candidate; without one, go back to the settings before the present ones."""
    session.answer(session.api.post(f"/adapters/{segment(name)}/rollback", {"note": note}), _one)


@asks_hub(adapter_app, "remove", example="hub adapter remove landscaping --yes")
def remove(session: Session, name: Name, yes: Yes = False, note: Note = "") -> None:
    """Take a disabled adapter away and destroy its secrets; its history stays."""
    session.confirm(f"Remove {name} and destroy its secrets?", yes=yes)
    answer = session.api.post(f"/adapters/{segment(name)}/remove", {"note": note})
    session.answer(answer, lambda _: f"✓ {name} 已移除")


@asks_hub(adapter_app, "pause", example="hub adapter pause parks --reason 对方系统升级")
def pause(
    session: Session, name: Name, reason: Annotated[str, typer.Option(help="Why; shown to operators.", show_default=False)]
) -> None:
    """Stop delivering to a department; what comes in the meantime waits."""
    answer = session.api.post(f"/adapters/{segment(name)}/pause", {"reason": reason})
    session.answer(answer, lambda _: f"✓ {name} 已暂停")


@asks_hub(adapter_app, "resume", example="hub adapter resume parks")
def resume(session: Session, name: Name) -> None:
    """Deliver again; what waited goes out at the rate the department can take."""
    session.answer(session.api.post(f"/adapters/{segment(name)}/resume"), lambda _: f"✓ {name} 已恢复")


class _quiet:
    """A progress display that shows nothing."""

    def __enter__(self) -> None:
        """Nothing."""

    def __exit__(self, *_: object) -> None:
        """Nothing."""


def _patch(
    set: list[str] | None,
    secret_env: list[str] | None,
    secret_file: list[str] | None,
    unset: list[str] | None,
    unit: list[str] | None,
    area: list[str] | None,
    percent: int | None,
    placement: str | None,
    concurrency: int | None,
    attempts: int | None,
    rate: float | None,
) -> dict[str, object]:
    """What the options say, as the interface takes it."""
    settings = dict.fromkeys(unset or ()) | settings_of(set, secret_env, secret_file)
    given: dict[str, object | None] = {
        "settings": settings or None,
        "units": unit,
        "areas": area,
        "percent": percent,
        "placement": placement,
        "concurrency": concurrency,
        "attempts": attempts,
        "rate_per_second": rate,
    }
    return {key: value for key, value in given.items() if value is not None}


def settings_of(set: list[str] | None, secret_env: list[str] | None, secret_file: list[str] | None) -> dict[str, object]:
    """The settings that the options give. Raises Failure naming the one that can't be read."""
    settings: dict[str, object] = {}
    for pair in set or ():
        key, value = _pair(pair)
        settings[key] = value
    for pair in secret_env or ():
        key, variable = _split(pair)
        if variable not in os.environ:
            raise Failure(f"--secret-env {pair}: the environment variable {variable} is not set")
        settings[key] = os.environ[variable]
    for pair in secret_file or ():
        key, path = _split(pair)
        try:
            settings[key] = (sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")).strip()
        except (OSError, UnicodeDecodeError) as error:
            raise Failure(f"--secret-file {pair}: {error}") from error
    return settings


def _pair(text: str) -> tuple[str, object]:
    """`key=text` or `key:=json`."""
    key, value = _split(text)
    if not key.endswith(":"):
        return key, value
    try:
        return key[:-1], json.loads(value)
    except ValueError as error:
        raise Failure(f"--set {text}: not JSON after := ({error})") from error


def _split(text: str) -> tuple[str, str]:
    key, sign, value = text.partition("=")
    if not sign or not key.rstrip(":"):
        raise Failure(f"{text}: write KEY=VALUE")
    return key, value


def _canary(parts: list[str]) -> dict[str, object]:
    """`10%` and area codes as the interface takes them."""
    percent, areas = 0, []
    for part in parts:
        if part.endswith("%") and part[:-1].isdigit():
            percent = int(part[:-1])
        elif part.isdigit() and 6 <= len(part) <= 15:
            areas.append(part)
        else:
            raise Failure(f"{part}: write a share like 10% or an area code")
    return {"percent": percent, "areas": areas}


def _part(canary: object) -> str:
    """A canary's part in words."""
    if not isinstance(canary, Mapping):
        return ""
    parts = [f"{canary['percent']}%"] if canary.get("percent") else []
    return "、".join([*parts, *(str(area) for area in canary.get("areas") or ())])


def _one(found: Mapping[str, Any]) -> Group:
    """One instance on the terminal."""
    parts: list[Any] = [facts(found, _FACTS)]
    for key, title in (("stable", "设置"), ("candidate", "试行中的设置")):
        spec = found.get(key)
        if isinstance(spec, Mapping):
            rows = {**{f"settings.{name}": value for name, value in (spec.get("settings") or {}).items()}}
            rows |= {name: value for name, value in spec.items() if name not in ("settings", "plugin")}
            parts += [Text(), facts(rows, [(name, name) for name in rows], title=title)]
    if found.get("diagnostics"):
        parts += [Text(), facts(found["diagnostics"], [(name, name) for name in found["diagnostics"]], title="诊断")]
    return Group(*parts)


STATES: Mapping[str, str] = {
    "running": "运行",
    "draining": "排空中",
    "drained": "已排空",
    "paused": "暂停",
    "failed": "故障",
    "disabled": "停用",
    "closed": "闭合",
    "open": "断开",
    "half_open": "半开",
}


def _state(key: str) -> Any:
    return lambda row: STATES.get(str(row.get(key)), row.get(key))


ADAPTER_COLUMNS = (
    ("名称", "name"),
    ("部门", "department"),
    ("状态", _state("state")),
    ("熔断器", _state("breaker")),
    ("排队", "queued"),
    ("在途", "in_flight"),
    ("插件", "plugin"),
    ("版本", "version"),
    ("等级", "tier"),
    ("设置版本", "settings_version"),
    ("位置", "placement"),
    ("说明", "detail"),
)
_FACTS = (
    ("名称", "name"),
    ("插件", "plugin"),
    ("部门", "department"),
    ("版本", "version"),
    ("等级", "tier"),
    ("状态", _state("state")),
    ("说明", "detail"),
    ("熔断器", _state("breaker")),
    ("排队", "queued"),
    ("在途", "in_flight"),
    ("能力", "capabilities"),
    ("设置版本", "settings_version"),
    ("来源", "origin"),
    ("位置", "placement"),
    ("单位", "units"),
    ("区划", "areas"),
    ("比例", lambda row: f"{row['percent']}%" if row.get("percent") not in (None, 100) else None),
    ("试行", lambda row: _part(row.get("canary"))),
    ("失控调用", lambda row: row.get("strays") or None),
)
