"""`hub policy days`: an announcement of a year's days off, read from its text and written into policy/days.yaml; offline."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from hub.config.days import DAYS, with_year, year_text
from hub.config.notice import Reading, notice_text, read_notice
from hub.errors import ConfigError
from hub.model.limits.calendar import AnnouncedYear
from hub.surfaces.cli.policy import ConfigOption, JsonOption, directory
from hub.surfaces.cli.session import print_json


def days(
    file: Annotated[Path, typer.Argument(help="The announcement's plain text; `-`: standard input.")],
    year: Annotated[
        int | None, typer.Option(min=2004, max=2099, help="Its year, where the text doesn't say it.", show_default=False)
    ] = None,
    number: Annotated[
        str | None, typer.Option(help="Its number, such as 国办发明电〔2025〕7号; default: the text's.", show_default=False)
    ] = None,
    write: Annotated[
        bool, typer.Option("--write", help="Write the year into policy/days.yaml; only when everything was read.")
    ] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read the State Council's announcement of a year's days off 放假安排; exit code 1 when something was not read or doesn't fit."""
    errors = Console(stderr=True, highlight=False)
    written = None
    try:
        found = read_notice(_text(file), year=year, number=number)
        if write and found.announced is not None and found.whole:
            written = _write(directory(config) / DAYS, found.announced)
    except ConfigError as error:
        errors.print(f"[red]{error}[/red]")
        raise typer.Exit(1) from error
    if as_json:
        print_json({**_as_json(found), "written": None if written is None else str(written)})
    else:
        _show(found, errors)
        if written is not None:
            errors.print(f"[green]✓[/green] {written} has it; `hub policy publish` puts it in force", soft_wrap=True)
        elif write:
            errors.print(
                "[red]nothing was written[/red]: mend the text, or write the year in by hand once checked", soft_wrap=True
            )
    if not found.whole:
        raise typer.Exit(1)


def _text(file: Path) -> str:
    try:
        return notice_text(sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes())
    except OSError as problem:
        raise ConfigError(f"the announcement can't be read: {problem.strerror}", file=str(file)) from problem


def _write(target: Path, announced: AnnouncedYear) -> Path:
    """Add the year to the file. Raises ConfigError."""
    try:
        before = target.read_text(encoding="utf-8-sig") if target.exists() else None
        after = with_year(before, announced)
        if after != before:
            target.write_text(after, encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise ConfigError(f"can't be read or written: {problem}", file=str(target)) from problem
    return target


def _as_json(found: Reading) -> dict[str, object]:
    announced = found.announced
    return {
        "ok": found.whole,
        "year": None if announced is None else announced.year,
        "announcement": None if announced is None else announced.announcement or None,
        "days_off": []
        if announced is None
        else [{"name": one.name, "first": one.first, "last": one.last} for one in announced.off],
        "working_days": [] if announced is None else [one.day for one in announced.work],
        "yaml": "" if announced is None else year_text(announced),
        "problems": list(found.problems),
        "unread": list(found.unread),
        "warnings": list(found.warnings),
        "aside": list(found.aside),
    }


def _show(found: Reading, errors: Console) -> None:
    """The YAML on standard output, so that it can be kept; what is to be said of it on standard error."""
    if found.announced is not None:
        sys.stdout.write(year_text(found.announced))
    for heading, style, lines in (
        ("set no day, left aside", "dim", found.aside),
        ("odd, but may be meant", "yellow", found.warnings),
        ("does not fit", "red", found.problems),
        ("NOT read", "red", found.unread),
    ):
        if lines:
            errors.print(f"[{style}]{heading}:[/{style}]")
        for line in lines:
            errors.print(f"  {line}", soft_wrap=True, markup=False)
