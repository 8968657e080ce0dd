"""One `hub <kind> …` command for each command that people may give, made from its struct, so that names and fields can't drift apart.

Owns how a struct's field becomes an option and an option's value JSON for `POST /<path>/{id}/{command}`. The aggregate's `given`
commands are the source; a new one that people may give appears here by itself.
"""

from __future__ import annotations

import inspect
from datetime import datetime
from enum import StrEnum
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin, get_type_hints

import msgspec
import typer

from hub.model.aggregate import Aggregate, Command, tag_of
from hub.model.assignments.commands import Target
from hub.model.assignments.state import Role
from hub.model.records import Attachment
from hub.surfaces.cli.client import segment
from hub.surfaces.cli.session import Session, asks_hub
from hub.surfaces.cli.tables import word

HELP: Final = {
    "assignment": "Assignment, e.g. a1.",
    "reason": "Why.",
    "note": "What was done or found.",
    "message": "What to say.",
    "text": "The remark.",
    "unit": "Code of the unit.",
    "category": "Category code.",
    "area": "Area code, 6 to 15 digits.",
    "until": "Until when: ISO time, the district's unless it has an offset.",
    "what": "suspension or extension.",
    "request": "Open request, e.g. q1.",
    "into": "Case to go on in.",
    "rating": "1 to 5.",
    "targets": "Unit to dispatch to: UNIT, UNIT:support or UNIT:support:optional, then =TASK if only a part. May be repeated.",
    "reported_at": "When it happened there, ISO time.",
    "kind": "Which limit.",
    "reached": "Whether the reporter was reached.",
    "solved": "Whether the reporter says it is solved.",
    "satisfied": "Whether the reporter is content.",
}
_EXAMPLES: Final = {
    "assignment": "--assignment a1",
    "reason": "--reason 职责不清",
    "note": "--note 已疏通",
    "targets": "--targets landscaping --targets 320113001:support",
    "unit": "--unit landscaping",
    "message": "--message 请尽快办理",
    "text": "--text 已电话联系",
    "request": "--request q1",
    "reached": "--reached",
    "what": "--what extension",
    "kind": "--kind finish",
    "until": "--until 2026-03-05T18:00",
    "into": "--into 320113001001001-…",
}


Key = Annotated[str | None, typer.Option("--key", help="Idempotency key: the same one does nothing twice.", show_default=False)]


def add_commands(app: typer.Typer, aggregate: Aggregate[Any, Any, Any], path: str) -> None:
    """Register one command for each command of a kind that people may give; `path` is the kind's word in API paths."""
    for struct in aggregate.given:
        _add(app, aggregate.name, path, struct)


def _add(app: typer.Typer, kind: str, path: str, struct: type[Command]) -> None:
    tag = tag_of(struct)
    hints = get_type_hints(struct)
    fields = [
        field for field in msgspec.structs.fields(struct) if field.name != "by" and not _is_files(hints[field.name])
    ]  # who it was is the token's; files go up with `hub case attach`
    times = {field.name for field in fields if _bare(hints[field.name]) is datetime}
    needed = [field.name for field in fields if field.required]
    shown = [_EXAMPLES[name] for name in (needed or (["targets"] if tag == "dispatch" else [])) if name in _EXAMPLES]

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
        example=f"hub {kind} {tag.replace('_', '-')} 320113001001001-0f3k9m2p7q {' '.join(shown)}".rstrip(),
        parameters=[
            inspect.Parameter(
                "matter",
                inspect.Parameter.KEYWORD_ONLY,
                annotation=Annotated[str, typer.Argument(metavar=kind.upper(), help=f"{kind.capitalize()} id.")],
            ),
            *(_parameter(field.name, hints[field.name], required=field.required, default=field.default) for field in fields),
            inspect.Parameter("key", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Key),
        ],
    )(give)


def told(command: str, id: str, answer: Any) -> str:
    """One line on what a command came to."""
    values = answer if isinstance(answer, dict) else {}
    after = values.get("case", values.get("matter"))
    after = after if isinstance(after, dict) else {}
    events = values.get("events") or ()
    contradicts = any(str(name).endswith(".report_conflicted") for name in events)
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


def _parameter(name: str, hint: Any, *, required: bool, default: object) -> inspect.Parameter:
    kind = _bare(hint)
    flag = _flag(name)
    declared: Any
    given: Any = inspect.Parameter.empty if required else None
    if _is_targets(hint):
        declared, given = list[str], [] if not required else inspect.Parameter.empty
        option = typer.Option(flag, "--to", help=HELP.get(name), show_default=False)
    elif kind is bool:
        declared = bool
        option = typer.Option(f"{flag}/--not-{name.replace('_', '-')}", help=HELP.get(name), show_default=False)
    else:
        declared = kind if kind is int or (isinstance(kind, type) and issubclass(kind, StrEnum)) else str
        metavar = "TIME" if kind is datetime else None
        option = typer.Option(flag, help=HELP.get(name), show_default=False, metavar=metavar)
    if given is None:
        declared = declared | None
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=given, annotation=Annotated[declared, option])


def _bare(hint: Any) -> Any:
    """The type without `| None`, a NewType as what it is made of."""
    if get_origin(hint) in (Union, UnionType):
        hint = next(part for part in get_args(hint) if part is not NoneType)
    return getattr(hint, "__supertype__", hint)


def _is_files(hint: Any) -> bool:
    return get_origin(hint) is tuple and get_args(hint)[0] is Attachment


def _is_targets(hint: Any) -> bool:
    return get_origin(hint) is tuple and get_args(hint)[0] is Target


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
