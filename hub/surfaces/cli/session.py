"""The common part of every command that asks the hub: its options, the client, the district's zone, and the printing of answers.

`asks_hub` registers a function as a command. The function's first parameter is a `Session`, the rest are its own options. `--url`,
`--token`, `--data` and `--json` come by themselves. A refusal ends the process with 1 and one line on stderr. With `--json` stdout holds
one JSON value and nothing else.
"""

from __future__ import annotations

import inspect
import json
import os
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, tzinfo
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, get_type_hints
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer
from rich.console import Console

from hub.surfaces.cli.client import Failure, HubApi, find_token, find_url

Url = Annotated[str | None, typer.Option("--url", envvar="HUB_URL", help="The hub's address.", show_default=False)]
Token = Annotated[
    str | None, typer.Option("--token", envvar="HUB_TOKEN", help="Your token; else the data directory's.", show_default=False)
]
Data = Annotated[
    Path | None,
    typer.Option("--data", envvar="HUB_DATA", help="The hub's data directory (finds hub and token).", show_default=False),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do it without asking.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the answer as JSON and nothing else.")]
_SHARED: Sequence[tuple[str, Any, Any]] = (
    ("url", Url, None),
    ("token", Token, None),
    ("data", Data, None),
    ("as_json", AsJson, False),
)

_PIPED_WIDTH = 200
"""Columns when nobody's terminal says how many there are, so that ids and lines stay whole for grep."""


class Session:
    """One command's connection to the hub and to the terminal."""

    def __init__(self, url: str | None, token: str | None, data: Path | None, *, as_json: bool) -> None:
        self.as_json = as_json
        piped = not sys.stdout.isatty() and "COLUMNS" not in os.environ
        self.console = Console(highlight=False, width=_PIPED_WIDTH if piped else None)
        self._where = (url, token, data)

    @cached_property
    def api(self) -> HubApi:
        """The hub's interface; raises Failure when there is no hub to ask."""
        url, token, data = self._where
        return HubApi(find_url(url, data), find_token(token, data, url))

    @cached_property
    def zone(self) -> tzinfo:
        """The district's time zone as the hub says; UTC when this machine does not know it."""
        try:
            return ZoneInfo(str(self.api.get("/me")["zone"]))
        except (KeyError, TypeError, ValueError, ZoneInfoNotFoundError):
            return UTC

    def close(self) -> None:
        """Close the connection if there was one."""
        if "api" in self.__dict__:
            self.api.close()

    def answer(self, value: Any, show: Callable[[Any], object]) -> None:
        """Print an answer: as JSON, or by `show`. If `show` returns something, rich prints it."""
        if self.as_json:
            print_json(value)
            return
        drawn = show(value)
        if drawn is not None:
            self.console.print(drawn)

    def confirm(self, question: str, *, yes: bool) -> None:
        """Ask before something that can't be undone. Raises Failure when the answer is no, or nobody can answer."""
        if yes:
            return
        if self.as_json or not sys.stdin.isatty():
            raise Failure(f"{question} Say --yes to do it without being asked.")
        if not typer.confirm(question):
            raise Failure("nothing was done")

    def time_of(self, text: str, option: str) -> datetime:
        """A time as typed: ISO 8601; without an offset it is the district's. Raises typer.BadParameter, which names the option."""
        try:
            at = datetime.fromisoformat(text)
        except ValueError:
            problem = f"not a time: {text!r} (write 2026-03-02T15:40 or with an offset)"
            raise typer.BadParameter(problem, param_hint=option) from None
        return at if at.tzinfo is not None else at.replace(tzinfo=self.zone)


def print_json(value: Any) -> None:
    """One JSON value on stdout, Chinese as it is."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2, default=str) + "\n")


def asks_hub(
    app: typer.Typer,
    name: str | None = None,
    *,
    example: str = "",
    help: str | None = None,
    parameters: Sequence[inspect.Parameter] | None = None,
    hidden: bool = False,
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register the decorated function as command `name`. `parameters` replaces its own (for generated commands)."""

    def register(function: Callable[..., None]) -> Callable[..., None]:
        if parameters is None:
            hints = get_type_hints(function, include_extras=True)
            own = [
                parameter.replace(annotation=hints[parameter.name])
                for parameter in list(inspect.signature(function).parameters.values())[1:]
            ]
        else:
            own = list(parameters)

        def command(**values: Any) -> None:
            shared = {key: values.pop(key) for key, _, _ in _SHARED}
            session = Session(shared["url"], shared["token"], shared["data"], as_json=shared["as_json"])
            try:
                function(session, **values)
            except Failure as failure:
                typer.echo(f"hub: {failure.text}", err=True)
                raise typer.Exit(1) from None
            finally:
                session.close()

        keyword = inspect.Parameter.KEYWORD_ONLY
        everything = [parameter.replace(kind=keyword) for parameter in own] + [
            inspect.Parameter(key, keyword, default=default, annotation=hint) for key, hint, default in _SHARED
        ]
        command.__signature__ = inspect.Signature(everything)  # type: ignore[attr-defined]
        command.__annotations__ = {parameter.name: parameter.annotation for parameter in everything}
        text = help or inspect.getdoc(function) or ""
        if example:
            text = f"{text}\n\nExample: {example}"
        app.command(name or function.__name__.replace("_", "-"), help=text, hidden=hidden)(command)
        return function

    return register
