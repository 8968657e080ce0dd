"""`hub policy`: check, explain and replay the rules of a configuration directory without a running hub, and publish them to one.

Owns the display of rules and their mistakes. Everything but `publish` works offline on files. Mounted by `hub.surfaces.cli`.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from hub.config.district import Checked, check_district, load_district
from hub.config.requests import Request, read_requests
from hub.errors import ConfigError
from hub.model.assignments.state import Role
from hub.model.case.state import Channel, Severity
from hub.model.district.areas import AreaCode
from hub.model.policy.district import District
from hub.model.policy.policy import Explanation
from hub.model.policy.rules import Matter, Plan
from hub.settings import Settings
from hub.surfaces.cli.session import Session, asks_hub, print_json

policy_app = typer.Typer(help="Check, explain, try and publish the rules 规则.", no_args_is_help=True)

ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="Configuration directory; default: the setting `config`.", show_default=False)
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")]


def directory(given: Path | None) -> Path:
    """The configuration directory: the one given, else the setting's."""
    return given if given is not None else Settings().config


def _load(given: Path | None) -> District:
    """The district, or a message on standard error and exit code 1."""
    try:
        return load_district(directory(given))
    except ConfigError as error:
        Console(stderr=True).print(f"[red]{error}[/red]", highlight=False)
        raise typer.Exit(1) from error


@policy_app.command()
def check(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Read a configuration directory and list every mistake with file, line and key; exit code 1 when there is one."""
    found = check_district(directory(config), today=datetime.now(UTC).date())
    if as_json:
        print_json(_checked(found))
    else:
        _show_checked(found)
    if found.problems:
        raise typer.Exit(1)


def _checked(found: Checked) -> dict[str, object]:
    return {
        "ok": not found.problems,
        "problems": [
            {"file": item.file, "line": item.line, "key": item.key, "message": item.reason} for item in found.problems
        ],
        "warnings": list(found.warnings),
    }


def _show_checked(found: Checked) -> None:
    console = Console(highlight=False)
    for problem in found.problems:
        console.print(f"[red]✗[/red] {problem}", soft_wrap=True)
    for warning in found.warnings:
        console.print(f"[yellow]![/yellow] {warning}", soft_wrap=True)
    if found.problems or found.configured is None:
        console.print(f"[red]{len(found.problems)} mistakes[/red]")
        return
    district = found.configured.district
    console.print(
        f"[green]✓[/green] {district.code} {district.name}: {len(district.areas)} areas, {len(district.directory)} units, "
        f"{len(district.policy.categories)} categories, {len(district.policy.book.rules)} rules, {len(found.configured.adapters)} adapters"
    )


@policy_app.command()
def explain(
    text: Annotated[str, typer.Argument(help="What the report says.")],
    title: Annotated[str | None, typer.Option(help="Its title; default: the text.", show_default=False)] = None,
    area: Annotated[
        str | None, typer.Option(help="Area code or place name; default: what the text names.", show_default=False)
    ] = None,
    channel: Annotated[Channel, typer.Option(help="Where it comes from.")] = Channel.HOTLINE,
    category: Annotated[str | None, typer.Option(help="Category code, when the report gives one.", show_default=False)] = None,
    severity: Annotated[Severity | None, typer.Option(help="Severity, when the report gives one.", show_default=False)] = None,
    at: Annotated[datetime | None, typer.Option(help="When it is reported; default: now.", show_default=False)] = None,
    every: Annotated[bool, typer.Option("--all", help="Also show the rules that did not fit.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say where a report goes and why: category, level, units, limits, and the rule and line that decided."""
    district = _load(config)
    code = _area(district, area, f"{title or ''} {text}")
    if category is not None and not district.policy.is_category(category):
        raise typer.BadParameter(f"no category has the code {category!r}", param_hint="--category")
    moment = at.replace(tzinfo=district.zone) if at is not None else datetime.now(district.zone)
    matter = Matter(channel=channel, title=title or text, text=text, area=code, category=category, severity=severity)
    explanation = district.policy.explain(matter, moment)
    if as_json:
        print_json(explanation.summary())
    else:
        _show_explanation(district, explanation, every)


def _area(district: District, given: str | None, text: str) -> AreaCode:
    if given is None:
        return district.locate(text) or district.code
    found = district.areas.resolve(given)
    if found is not None:
        return found.code
    located = district.locate(given)
    if located is None:
        raise typer.BadParameter(f"no area has the code or name {given!r}", param_hint="--area")
    return located


def _unit_names(district: District, plan: Plan, role: Role) -> str:
    names = []
    for target in plan.targets:
        if target.role is role:
            unit = district.directory.get(target.unit)
            name = f"{unit.name if unit is not None else target.unit}({target.unit})"
            names.append(name + ("" if target.required else "可选") + (f": {target.task}" if target.task else ""))
    return "; ".join(names) or "-"


def _show_explanation(district: District, found: Explanation, every: bool) -> None:
    console = Console(highlight=False)
    plan = found.plan
    holder = district.directory.get(plan.holder)
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("分类 category", f"{plan.category} {' / '.join(found.category_path)}")
    table.add_row("等级 severity", plan.severity.value)
    table.add_row("区划 area", " / ".join(found.area_path))
    table.add_row("承办 held by", f"{holder.name if holder is not None else plan.holder} ({plan.level.word})")
    table.add_row("主办 lead", _unit_names(district, plan, Role.LEAD))
    table.add_row("协办 support", _unit_names(district, plan, Role.SUPPORT))
    table.add_row("派单 dispatch", "now 立即" if plan.dispatch else "held 待研判")
    for limit, due in found.limits:
        local = due.astimezone(district.zone)
        table.add_row(f"时限 {limit.kind.value}", f"{limit.words} → {local:%Y-%m-%d %H:%M}")
    table.add_row("规则 rule", f"[green]{plan.rule}[/green]")
    console.print(table)
    console.print("\n[bold]为什么 why[/bold]")
    for line in plan.because:
        console.print(f"  · {line}", soft_wrap=True, markup=False)
    misses = sum(not looked.fits for looked in found.looked)
    if every:
        console.print("\n[bold]逐条 rules looked at[/bold]")
        for looked in found.looked:
            mark = "[green]✓[/green]" if looked.fits else "[dim]✗[/dim]"
            console.print(f"  {mark} {looked.where} {looked.rule}: {looked.why}", soft_wrap=True)
    elif misses:
        console.print(f"  · {misses} rules before it did not fit (--all shows them)", markup=False)


class Outcomes:
    """What a dry run over many requests came to."""

    def __init__(self) -> None:
        self.rows: Counter[tuple[str, str, str]] = Counter()
        self.rules: Counter[str] = Counter()
        self.severities: Counter[str] = Counter()
        self.located: Counter[str] = Counter()
        self.dispatched = 0
        self.cases = 0

    def add(self, district: District, request: Request) -> None:
        """Route one request and count where it went."""
        words = f"{request.title}\n{request.text}"
        area = district.locate(words) or district.code
        matter = Matter(channel=request.channel, title=request.title, text=request.text, area=area)
        plan = district.policy.plan(matter, request.created_at or datetime.now(UTC))
        leads = "+".join(target.unit for target in plan.targets if target.role is Role.LEAD) or "-"
        self.rows[(plan.category, plan.level.word, leads)] += 1
        self.rules[plan.rule] += 1
        self.severities[plan.severity.value] += 1
        found = district.areas.find(area)
        self.located[found.level.word if found is not None else "district"] += 1
        self.dispatched += plan.dispatch
        self.cases += 1

    @property
    def backstop(self) -> int:
        """How many only the last rule took 兜底."""
        return sum(count for rule, count in self.rules.items() if rule.endswith(" backstop"))

    def as_json(self, district: District) -> dict[str, object]:
        """Everything counted, largest first."""
        return {
            "cases": self.cases,
            "backstop": self.backstop,
            "dispatched_at_once": self.dispatched,
            "located": dict(self.located.most_common()),
            "severities": dict(self.severities.most_common()),
            "rules": dict(self.rules.most_common()),
            "outcomes": [
                {"category": code, "name": _name(district, code), "level": level, "lead": lead.split("+"), "cases": count}
                for (code, level, lead), count in sorted(self.rows.items(), key=lambda item: (-item[1], item[0]))
            ],
        }


def _name(district: District, code: str) -> str:
    category = district.policy.category(code)
    return category.name if category is not None else code


@policy_app.command()
def replay(
    file: Annotated[Path, typer.Argument(help="CSV with id, title, text (and created_at, support, against).")],
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first so many.", show_default=False)] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Route many requests without opening a case, and show where they would go."""
    district = _load(config)
    try:
        requests = read_requests(file, limit=limit)
    except ConfigError as error:
        Console(stderr=True).print(f"[red]{error}[/red]", highlight=False)
        raise typer.Exit(1) from error
    outcomes = Outcomes()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=as_json) as progress:
        for request in progress.track(requests, description="replay"):
            outcomes.add(district, request)
    if as_json:
        print_json(outcomes.as_json(district))
    else:
        _show_outcomes(district, outcomes)


def _show_outcomes(district: District, outcomes: Outcomes) -> None:
    table = Table(title=f"{outcomes.cases} requests", title_justify="left")
    table.add_column("分类 category")
    table.add_column("层级 level")
    table.add_column("主办 lead")
    table.add_column("件 cases", justify="right")
    totals = Counter[str]()
    for (code, _, _), count in outcomes.rows.items():
        totals[code] += count
    ordered = sorted(outcomes.rows.items(), key=lambda item: (-totals[item[0][0]], item[0][0], -item[1]))
    last = None
    for (code, level, lead), count in ordered:
        table.add_row("" if code == last else f"{code} {_name(district, code)}", level, lead.replace("+", ", "), str(count))
        last = code
    console = Console(highlight=False)
    console.print(table)
    share = outcomes.backstop / outcomes.cases if outcomes.cases else 0.0
    console.print(f"dispatched at once {outcomes.dispatched} · backstop 兜底 {outcomes.backstop} ({share:.1%})")
    console.print("located at " + " · ".join(f"{level} {count}" for level, count in outcomes.located.most_common()))
    console.print("severity " + " · ".join(f"{name} {count}" for name, count in outcomes.severities.most_common()))


@asks_hub(policy_app, "publish", example="hub policy publish --config config")
def publish(session: Session, config: ConfigOption = None) -> None:
    """Check the directory and publish its policy to the running hub as a new numbered version."""
    district = _load(config)
    answer = session.api.post("/policy", {"sources": dict(district.policy.sources)})
    session.answer(answer, lambda value: f"policy version {value['version']} is in force")
