"""`hub plugin grade`: hold an installed plugin against the quality scale, and write its report."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from hub.errors import HubError

_MARK = {"holds": "✓", "broken": "✗", "not_concerned": "–"}


def add_grading(app: typer.Typer) -> None:
    """Register `hub plugin grade`."""
    app.command("grade")(grade)


def grade(
    names: Annotated[list[str], typer.Argument(metavar="PLUGIN...", help="Names of installed plugins.")],
    least: Annotated[
        str | None, typer.Option("--least", help="Fail below this tier: bronze, silver, gold, platinum.", show_default=False)
    ] = None,
    write: Annotated[bool, typer.Option("--write/--no-write", help="Write the report beside the package.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print the reports as JSON and nothing else.")] = False,
) -> None:
    """Run a plugin's own tests and every rule of the quality scale; write the report that `hub adapter list` shows.

    Example: hub plugin grade greenery --least gold
    """
    from hub.platform.adapters.plugins import Plugins  # not at the top: plugins are loaded only when one is graded
    from hub.workshop.grading import RULES, Grade, Tier, prove, subject_of, write_report
    from hub.workshop.grading import grade as grade_subject

    if least is not None and least not in list(Tier):
        raise typer.BadParameter(f"--least: {', '.join(Tier)}")
    titles = {rule.id: rule.title for rule in RULES}
    console, reports = Console(highlight=False), list[Grade]()
    try:
        plugins = Plugins()
        for name in names:
            subject = subject_of(plugins.get(name))
            with Console(stderr=True).status(f"{name}: running its tests…"):
                report = grade_subject(replace(subject, proof=prove(subject)))
            reports.append(report)
            if write:
                write_report(subject, report)
            if not as_json:
                _draw(console, report, titles)
    except HubError as problem:
        typer.echo(f"hub: {problem.message}", err=True)
        raise typer.Exit(1) from None
    if as_json:
        typer.echo(json.dumps(msgspec.to_builtins(reports), ensure_ascii=False, indent=2))
    order = list(Tier)
    if least is not None and any(one.tier is None or order.index(one.tier) < order.index(Tier(least)) for one in reports):
        raise typer.Exit(1)


def _draw(console: Console, report: object, titles: dict[str, str]) -> None:
    from hub.workshop.grading import Grade

    assert isinstance(report, Grade)
    table = Table(
        title=f"{report.plugin} {report.version}: {report.tier.value if report.tier else 'no tier'}",
        title_justify="left",
        show_edge=False,
        pad_edge=False,
        box=None,
    )
    for heading in ("", "tier", "rule", "what", "says"):
        table.add_column(heading, overflow="fold")
    for verdict in report.verdicts:
        style = "red" if verdict.standing == "broken" else "dim" if verdict.standing == "not_concerned" else ""
        row = (_MARK[verdict.standing], verdict.tier.value, verdict.rule, titles[verdict.rule], verdict.says)
        table.add_row(*row, style=style)
    console.print(table)
