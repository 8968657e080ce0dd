"""The options of a `list` command, made from the filter of its route: a field of the filter is an option, without further work.

Called by the commands that list something with a filter.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import NoneType
from typing import Annotated, Any, get_args, get_origin

import typer
from pydantic import AwareDatetime
from pydantic.fields import FieldInfo

from hub.surfaces.cli.session import Session, asks_hub
from hub.views.filters import Filter

Draw = Callable[[Session, list[dict[str, Any]]], object]

_PAGED = ("limit", "cursor")
"""Fields about pages: the command asks for one after the other up to its own limit."""
_LIMIT = inspect.Parameter(
    "limit",
    inspect.Parameter.KEYWORD_ONLY,
    default=50,
    annotation=Annotated[int, typer.Option(min=1, max=100_000, help="At most so many.")],
)


def lists(app: typer.Typer, path: str, filter: type[Filter], *, example: str) -> Callable[[Draw], Draw]:
    """Register `list`, with an option for each field of the filter. The decorated function shows the rows."""
    options = {name: _option(name, field) for name, field in filter.model_fields.items() if name not in _PAGED}
    times = {name for name in options if _bare(filter.model_fields[name]) is AwareDatetime}

    def register(draw: Draw) -> Draw:
        def found(session: Session, limit: int, **given: Any) -> None:
            for name in times:
                if given[name] is not None:
                    given[name] = session.time_of(given[name], f"--{name}").isoformat()
            rows = list(session.api.pages(path, limit=limit, **given))
            session.answer({"items": rows}, lambda _: draw(session, rows))

        asks_hub(app, "list", help=inspect.getdoc(draw), example=example, parameters=[*options.values(), _LIMIT])(found)
        return draw

    return register


def _option(name: str, field: FieldInfo) -> inspect.Parameter:
    kind = _bare(field)
    listed = get_origin(field.annotation) is tuple
    flag = f"--{name.replace('_', '-')}"
    shown = typer.Option(
        f"{flag}/--not{flag[1:]}" if kind is bool else flag,
        help=f"{field.description}{'; may be repeated' if listed else ''}.",
        show_default=False,
        metavar="TIME" if kind is AwareDatetime else None,
    )
    one: Any = str if kind is AwareDatetime else kind
    declared: Any = list[one] if listed else one
    annotation = Annotated[declared | None, shown]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _bare(field: FieldInfo) -> Any:
    """The type of one value of a field."""
    kind: Any = field.annotation
    return get_args(kind)[0] if get_origin(kind) is tuple or NoneType in get_args(kind) else kind
