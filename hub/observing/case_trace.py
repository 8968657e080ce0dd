"""A whole case as one picture: every outside stimulus is a trace, each with its spans nested, in order of time.

Owns the assembly of a case's traces from stored spans and its timeline, and the drawing of the tree. Pure: no store, no clock. Refuses
nothing. Spans come from other processes too, so a missing parent, a span given twice or a circle still give a tree. Called by the API (`GET
/cases/{id}/trace`), `hub trace` and the console.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from typing import Any, Final

import msgspec
from rich.markup import escape
from rich.text import Text
from rich.tree import Tree as RichTree

from hub.model.district.areas import Level
from hub.model.words import LEVELS
from hub.observing import telemetry
from hub.observing.store import SpanRecord

LEVEL_WORDS: Final = {**LEVELS, "department": "部门"}
_LEVEL_COLOURS: Final = {"grid": "green", "community": "cyan", "street": "blue", "district": "magenta", "department": "yellow"}
_DEEPEST: Final = 60
"""Spans nested deeper hang from the ancestor at this depth; only a damaged or hostile sender gets there."""


class Happening(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the timeline, as far as the tree shows it."""

    at: datetime
    type: str
    text: str = ""
    level: str | None = None


class Node(msgspec.Struct, kw_only=True):
    """One span in the tree. `started` is UTC, `ms` its duration in milliseconds. `status`: of HTTP. `orphan`: its parent was not stored."""

    span: str
    name: str
    kind: str
    service: str
    started: datetime
    ms: float
    level: str | None = None
    department: str | None = None
    attempt: int | None = None
    retry: bool = False
    status: int | None = None
    error: str | None = None
    orphan: bool = False
    happenings: list[Happening] = []
    children: list[Node] = []


class Stimulus(msgspec.Struct, kw_only=True):
    """One trace: what came from outside and all it set off. `caused_by`: the traces its first span links to."""

    trace: str
    started: datetime
    ms: float
    caused_by: list[str]
    nodes: list[Node]


class Tree(msgspec.Struct, kw_only=True):
    """The case: its stimuli in order of time, and the sums a reader looks for first. `loose`: happenings without a stored span."""

    case: str
    started: datetime | None
    ended: datetime | None
    stimuli: list[Stimulus]
    loose: list[Happening]
    spans: int
    errors: int
    retries: int
    levels: list[str]
    departments: list[str]

    def to_json(self) -> dict[str, Any]:
        """The tree as JSON-ready values; times ISO 8601 in UTC."""
        built: dict[str, Any] = msgspec.to_builtins(self)
        return built


def from_json(values: Mapping[str, Any]) -> Tree:
    """Read what `Tree.to_json` gave (the CLI has it from the API). Raises msgspec.ValidationError."""
    return msgspec.convert(dict(values), Tree)


def assemble(case: str, timeline: Sequence[Mapping[str, Any]], spans: Sequence[SpanRecord]) -> Tree:
    """Build the tree of a case.

    Of each timeline entry `at` (datetime or ISO text) and `traceparent` (the span that committed it) are used, `event`: the
    stored event with its `type`, or its registered name beside its fields in `body`. Entries whose span is not stored are
    kept in `loose`.
    """
    records = {(record.trace, record.span): record for record in spans}
    happenings, held = _happenings(timeline)
    stimuli = [
        _stimulus(trace, [record for record in records.values() if record.trace == trace], happenings, held)
        for trace in {record.trace for record in records.values()}
    ]
    stimuli.sort(key=lambda stimulus: stimulus.started)
    nodes = [node for stimulus in stimuli for node in walk(stimulus.nodes)]
    known = {f"{record.trace}-{record.span}" for record in records.values()}
    levels = {level for _, level in held} or {node.level for node in nodes if node.level}
    if any(node.level == "department" for node in nodes):
        levels.add("department")
    return Tree(
        case=case,
        started=min((node.started for node in nodes), default=None),
        ended=_at(max(record.ended for record in records.values())) if records else None,
        stimuli=stimuli,
        loose=sorted(
            (happening for span, entries in happenings.items() if span not in known for happening in entries),
            key=lambda happening: happening.at,
        ),
        spans=len(nodes),
        errors=sum(node.error is not None for node in nodes),
        retries=sum(node.retry for node in nodes),
        levels=[word for word in LEVEL_WORDS if word in levels],
        departments=sorted({node.department for node in nodes if node.department}),
    )


def walk(nodes: Iterable[Node]) -> Iterable[Node]:
    """All nodes below and including these, parents before children."""
    waiting = list(nodes)[::-1]
    while waiting:
        node = waiting.pop()
        yield node
        waiting.extend(reversed(node.children))


def render(tree: Tree, *, zone: tzinfo = UTC, happenings: bool = True) -> RichTree:
    """The tree for a terminal, times in `zone`. Print it with a rich console (its width decides where lines wrap)."""
    head = Text.from_markup(f"[bold]{escape(tree.case)}[/]")
    if tree.started is not None and tree.ended is not None:
        head.append(f"  {tree.started.astimezone(zone):%Y-%m-%d %H:%M:%S}–{_clock(tree.ended, tree.started, zone)}", "dim")
    head.append(f"  {len(tree.stimuli)} 次触发 · {tree.spans} 步", "dim")
    if tree.retries:
        head.append(f" · {tree.retries} 次重试", "yellow")
    if tree.errors:
        head.append(f" · {tree.errors} 处失败", "red")
    if tree.levels:
        head.append(" · " + "→".join(LEVEL_WORDS[level] for level in tree.levels))
    if tree.departments:
        head.append(" · " + "、".join(tree.departments))
    root = RichTree(head)
    start = tree.started or datetime.now(UTC)
    numbers = {stimulus.trace: number for number, stimulus in enumerate(tree.stimuli, 1)}
    for stimulus in tree.stimuli:
        line = Text(f"{numbers[stimulus.trace]}. ", "bold")
        line.append(_clock(stimulus.started, start, zone), "bold")
        line.append(f"  {_length(stimulus.ms)}  trace {stimulus.trace[:8]}", "dim")
        causes = sorted({numbers[trace] for trace in stimulus.caused_by if trace in numbers})
        if causes:
            line.append("  ← " + "、".join(map(str, causes)), "dim")
        branch = root.add(line)
        waiting = [(branch, node) for node in reversed(stimulus.nodes)]
        while waiting:
            above, node = waiting.pop()
            below = above.add(_line(node, start, zone))
            if happenings:
                for happening in node.happenings:
                    below.add(_happening_line(happening))
            waiting.extend((below, child) for child in reversed(node.children))
    if happenings and tree.loose:
        branch = root.add(Text("未保存链路的记录", "dim"))
        for happening in tree.loose:
            line = Text(f"{_clock(happening.at, start, zone)} ", "dim")
            branch.add(line.append_text(_happening_line(happening)))
    return root


def _happenings(timeline: Sequence[Mapping[str, Any]]) -> tuple[dict[str, list[Happening]], list[tuple[datetime, str]]]:
    """Timeline entries by the id of the span that committed them, and from when on which level held the case."""
    found: dict[str, list[Happening]] = {}
    held: list[tuple[datetime, str]] = []
    for entry in timeline:
        at = entry.get("at")
        when = datetime.fromisoformat(at) if isinstance(at, str) else at
        if not isinstance(when, datetime):
            continue
        named, body = entry.get("event"), entry.get("body")
        event: Mapping[str, Any] = named if isinstance(named, Mapping) else body if isinstance(body, Mapping) else {}
        kind = str(event.get("type") or "") if isinstance(named, Mapping) else str(named or "")
        level = _level_word(event.get("level"))
        happening = Happening(at=when.astimezone(UTC), type=kind, text=_gist(event), level=level)
        around = telemetry.valid_traceparent(entry.get("traceparent"))
        found.setdefault(around[3:52] if around else "", []).append(happening)
        if level is not None and happening.type.endswith(".held"):
            held.append((happening.at, level))
    return found, sorted(held)


def _level_word(value: object) -> str | None:
    """`grid` … from the word or from the number an event stores."""
    if isinstance(value, int) and not isinstance(value, bool) and value in Level.__members__.values():
        return Level(value).word
    return value if isinstance(value, str) and value in LEVEL_WORDS else None


_TELLING: Final = (
    "title", "unit", "owner", "role", "assignment", "attempt", "ticket", "kind", "cause", "action", "error", "outcome", "what",
    "note", "reason", "message", "text",
)  # fmt: skip


def _gist(event: Mapping[str, Any]) -> str:
    """What an event says in one short line: the telling fields, each cut at 40 characters."""
    words = [
        str(event[name]) for name in _TELLING if event.get(name) not in (None, "") and not (name == "text" and "title" in event)
    ]
    return " ".join(word if len(word) <= 40 else f"{word[:39]}…" for word in words)


def _stimulus(
    trace: str,
    records: Sequence[SpanRecord],
    happenings: Mapping[str, list[Happening]],
    held: Sequence[tuple[datetime, str]],
) -> Stimulus:
    ordered = sorted(records, key=lambda record: (record.started, -record.ended))
    by_id = {record.span: record for record in ordered}
    parents = _parents(ordered, by_id)
    nodes: dict[str, Node] = {}
    depth: dict[str, int] = {}
    tops: list[Node] = []
    for record in _parents_first(ordered, parents):
        parent = parents[record.span]
        while parent is not None and depth[parent] >= _DEEPEST:
            parent = parents[parent]
        above = nodes[parent] if parent is not None else None
        node = _node(record, above, happenings.get(f"{trace}-{record.span}", ()), held)
        node.orphan = record.parent is not None and record.parent != parent and record.parent not in by_id
        nodes[record.span] = node
        depth[record.span] = 0 if parent is None else depth[parent] + 1
        (tops if above is None else above.children).append(node)
    for node in nodes.values():
        node.children.sort(key=lambda child: child.started)
    tops.sort(key=lambda node: node.started)
    start, end = min(record.started for record in ordered), max(record.ended for record in ordered)
    causes = [link[3:35] for record in ordered if parents[record.span] is None for link in record.links]
    return Stimulus(
        trace=trace,
        started=_at(start),
        ms=_ms(end - start),
        caused_by=sorted(set(causes) - {trace}),
        nodes=tops,
    )


def _parents(ordered: Sequence[SpanRecord], by_id: Mapping[str, SpanRecord]) -> dict[str, str | None]:
    """Each span's parent in the tree: its own; for an orphan the trace's first true root; circles are cut open."""
    root = next((record.span for record in ordered if record.parent is None), None)
    parents: dict[str, str | None] = {}
    for record in ordered:
        if record.parent in by_id and record.parent != record.span:
            parents[record.span] = record.parent
        else:
            parents[record.span] = None if record.parent is None or root == record.span else root
    safe: set[str] = set()
    for record in ordered:
        path: list[str] = []
        at: str | None = record.span
        while at is not None and at not in safe:
            if at in path:
                parents[at] = None
                break
            path.append(at)
            at = parents[at]
        safe.update(path)
    return parents


def _parents_first(ordered: Sequence[SpanRecord], parents: Mapping[str, str | None]) -> Iterable[SpanRecord]:
    children: dict[str | None, list[SpanRecord]] = {}
    for record in ordered:
        children.setdefault(parents[record.span], []).append(record)
    waiting = list(reversed(children.get(None, [])))
    while waiting:
        record = waiting.pop()
        yield record
        waiting.extend(reversed(children.get(record.span, [])))


def _node(
    record: SpanRecord, above: Node | None, happenings: Sequence[Happening], held: Sequence[tuple[datetime, str]]
) -> Node:
    values = record.attributes
    started = _at(record.started)
    department = values.get(telemetry.DEPARTMENT) or values.get(telemetry.ADAPTER)
    foreign = record.service.removesuffix("-simulator") if record.service.endswith("-simulator") else None
    attempt = values.get(telemetry.ATTEMPT)
    return Node(
        span=record.span,
        name=record.name,
        kind=record.kind,
        service=record.service,
        started=started,
        ms=_ms(record.ended - record.started),
        level=_level(record, above, happenings, held, started),
        department=str(department) if department else (above.department if above and above.department else foreign),
        attempt=attempt if isinstance(attempt, int) else None,
        retry=values.get(telemetry.RETRY) is True or (isinstance(attempt, int) and attempt > 1),
        status=status if isinstance(status := values.get(telemetry.HTTP_STATUS), int) else None,
        error=record.error,
        happenings=list(happenings),
        children=[],
    )


def _level(
    record: SpanRecord,
    above: Node | None,
    happenings: Sequence[Happening],
    held: Sequence[tuple[datetime, str]],
    started: datetime,
) -> str | None:
    """A step's level: where it moved the case; else the span's own; departmental calls; else the holder's at that time."""
    moved = next((entry.level for entry in reversed(happenings) if entry.level), None)
    if moved is not None:
        return moved
    said = record.attributes.get(telemetry.LEVEL)
    if said in LEVEL_WORDS:
        return str(said)
    if (
        telemetry.ADAPTER in record.attributes
        or telemetry.DEPARTMENT in record.attributes
        or record.service.endswith("-simulator")
    ):
        return "department"
    if above is not None and above.level == "department" and record.kind == "client":
        return "department"
    return next((level for at, level in reversed(held) if at <= started), None)


def _line(node: Node, start: datetime, zone: tzinfo) -> Text:
    line = Text(f"{_clock(node.started, start, zone)} ", "dim")
    line.append(node.name, "bold red" if node.error else "bold")
    if node.level is not None:
        line.append(f" [{LEVEL_WORDS[node.level]}]", _LEVEL_COLOURS[node.level])
    if node.service != "hub":
        line.append(f" @{node.service}", "yellow")
    if node.department:
        line.append(f" {node.department}")
    line.append(f" {_length(node.ms)}", "dim")
    if node.status is not None and node.status >= 400:
        line.append(f" → {node.status}", "red" if node.status >= 500 else "yellow")
    if node.attempt is not None and node.attempt > 1:
        line.append(f" ↻ 第{node.attempt}次", "yellow")
    elif node.retry:
        line.append(" ↻ 重试", "yellow")
    if node.error:
        line.append(f" ✗ {node.error}", "red")
    if node.orphan:
        line.append(" (上级链路未保存)", "dim")
    return line


def _happening_line(happening: Happening) -> Text:
    line = Text("● ", "green")
    line.append(happening.type)
    if happening.level is not None:
        line.append(f" [{LEVEL_WORDS[happening.level]}]", _LEVEL_COLOURS[happening.level])
    if happening.text:
        line.append(f" {happening.text}", "dim")
    return line


def _at(nanoseconds: int) -> datetime:
    return datetime.fromtimestamp(nanoseconds / 1_000_000_000, UTC)


def _ms(nanoseconds: int) -> float:
    return round(nanoseconds / 1_000_000, 3)


def _clock(at: datetime, start: datetime, zone: tzinfo) -> str:
    """Time of day to the millisecond; with the date when it is another day than the case's first."""
    here = at.astimezone(zone)
    words = f"{here:%H:%M:%S}.{here.microsecond // 1000:03d}"
    return words if here.date() == start.astimezone(zone).date() else f"{here:%m-%d} {words}"


def _length(ms: float) -> str:
    if ms < 1000:
        return f"{ms:.1f} ms"
    seconds = ms / 1000
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
