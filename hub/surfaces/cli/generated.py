"""One `hub <kind> …` command for each command that people may give, made from its form, so that names and fields can't drift apart.

Turns a struct's field into an option, and the option's value into JSON for `POST /<path>/{id}/{command}`. The source is the aggregate's
`given` commands. A new one appears here by itself.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from enum import StrEnum
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import typer
from msgspec import Meta
from msgspec.structs import FieldInfo

from hub.model.aggregate import Aggregate, Command, tag_of
from hub.model.assignments.commands import Target
from hub.model.assignments.state import Role
from hub.model.texts import filled_in
from hub.surfaces.cli.client import segment
from hub.surfaces.cli.session import Session, asks_hub
from hub.surfaces.cli.tables import word

Key = Annotated[str | None, typer.Option("--key", help="Idempotency key: the same one does nothing twice.", show_default=False)]


def add_commands(app: typer.Typer, aggregate: Aggregate[Any, Any, Any], path: str) -> None:
    """Register one command for each command of a kind that people may give; `path` is the kind's word in API paths."""
    for struct in aggregate.given:
        _add(app, aggregate.name, path, struct)


def _add(app: typer.Typer, kind: str, path: str, struct: type[Command]) -> None:
    tag = tag_of(struct)
    fields = filled_in(struct)
    times = {field.name for field in fields if _read(field.type)[0] is datetime}
    example = "" if struct.form is None else " ".join(_shown(struct.form.example, fields))

    def give(session: Session, matter: str, key: str | None, **values: Any) -> None:
        body = {
            name: session.time_of(value, _flag(name)).isoformat() if name in times else _json(value)
            for name, value in values.items()
            if value not in (None, [], ())
        }
        answer = session.api.post(f"/{path}/{segment(matter)}/{tag}", body, key=key)
        session.answer(answer, lambda value: told(tag, matter, value))

    asks_hub(
        app,
        tag.replace("_", "-"),
        help=inspect.getdoc(struct),
        example=f"hub {kind} {tag.replace('_', '-')} 320113001001001-0f3k9m2p7q {example}".rstrip(),
        parameters=[
            inspect.Parameter(
                "matter",
                inspect.Parameter.KEYWORD_ONLY,
                annotation=Annotated[str, typer.Argument(metavar=kind.upper(), help=f"{kind.capitalize()} id.")],
            ),
            *(_parameter(field) for field in fields),
            inspect.Parameter("key", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Key),
        ],
    )(give)


def told(command: str, id: str, answer: Any) -> str:
    """One line on the result of a command."""
    values = answer if isinstance(answer, dict) else {}
    after = values.get("case", values.get("matter"))
    after = after if isinstance(after, dict) else {}
    events = values.get("events") or ()
    contradicts = any(str(name).endswith(".feedback_conflicted") for name in events)
    words = [f"{'!' if contradicts else '✓'} {after.get('id') or id} {command}"]
    if after.get("stage"):
        words.append(word("stage", after["stage"]))
    if contradicts:
        words.append("（与现状不符，已记录，未改变）")
    elif "events" in values and not events and not values.get("repeated"):
        words.append("（无变化）")
    if command == "ask" and after.get("asked"):
        words.append(f"（申请 {after['asked'][-1]['id']}）")
    if values.get("repeated"):
        words.append("（此前已执行，未重复）")
    if values.get("attached"):
        words.append("（并入已有事件）")
    return " ".join(words)


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _shown(example: Mapping[str, object], fields: Iterable[FieldInfo]) -> Iterator[str]:
    """The necessary part of the example: required fields, and the case's receiver."""
    for field in fields:
        value = example.get(field.name)
        if isinstance(value, list):
            yield from (f"{_flag(field.name)} {_as_target(one)}" for one in value)
        elif field.required and value is not None:
            yield _flag(field.name) if value is True else f"{_flag(field.name)} {value}"


def _parameter(field: FieldInfo) -> inspect.Parameter:
    kind, help = _read(field.type)
    flag = _flag(field.name)
    declared: Any
    given: Any = inspect.Parameter.empty if field.required else None
    if kind is Target:
        declared, given = list[str], inspect.Parameter.empty if field.required else []
        option = typer.Option(flag, "--to", help=help, show_default=False)
    elif kind is bool:
        declared = bool
        option = typer.Option(f"{flag}/--not-{flag[2:]}", help=help, show_default=False)
    else:
        declared = kind if kind is int or (isinstance(kind, type) and issubclass(kind, StrEnum)) else str
        metavar = "TIME" if kind is datetime else None
        option = typer.Option(flag, help=help, show_default=False, metavar=metavar)
    if given is None:
        declared = declared | None
    return inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=given, annotation=Annotated[declared, option])


def _read(declared: Any) -> tuple[Any, str | None]:
    """The type of a field (of a tuple's items for a tuple) without what surrounds it, and how its form explains it."""
    if get_origin(declared) in (Union, UnionType):
        declared = next(part for part in get_args(declared) if part is not NoneType)
    help = None
    if get_origin(declared) is Annotated:
        declared, *said = get_args(declared)
        help = next((one.description for one in reversed(said) if isinstance(one, Meta) and one.description), None)
    if get_origin(declared) is tuple:
        return get_args(declared)[0], help
    return getattr(declared, "__supertype__", declared), help


def _as_target(value: Mapping[str, object]) -> str:
    """A target as `target` reads it."""
    role, need = value.get("role", "lead"), "" if value.get("required", True) else ":optional"
    head = str(value["unit"]) if role == "lead" and not need else f"{value['unit']}:{role}{need}"
    return f"{head}={value['task']}" if "task" in value else head


def _json(value: Any) -> Any:
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, list | tuple):
        return [target(text) for text in value]
    return value


def target(text: str) -> dict[str, object]:
    """Read `UNIT[:lead|support[:required|optional]][=TASK]`. Raises typer.BadParameter."""
    head, _, task = text.partition("=")
    unit, *rest = head.split(":")
    role, need = (*rest, *("lead", "required")[len(rest) :])[:2] if len(rest) <= 2 else ("", "")
    if not unit or role not in set(Role) or need not in ("required", "optional"):
        raise typer.BadParameter(f"not a target: {text} (UNIT, UNIT:support, UNIT:support:optional, then =TASK)")
    found: dict[str, object] = {"unit": unit, "role": str(role), "required": need == "required"}
    return {**found, "task": task} if task else found
