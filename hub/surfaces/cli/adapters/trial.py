"""`hub adapter try`: ask an adapter for its health, hand a marked sample over, and see everything that went over the wire.

Through a running hub for one of its instances, or without a hub for a plugin under development (`--plugin`).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import httpx
import typer
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from hub.surfaces.cli.adapters.instances import SecretEnv, SecretFile, Set, settings_of
from hub.surfaces.cli.client import Failure, segment
from hub.surfaces.cli.session import Session, asks_hub

_WITHIN = 400.0
"""Seconds a trial may take: each call of the plugin is bounded, and there are about a dozen at worst."""
_MOST_SHOWN = 4_000
"""Characters of a body on the terminal; `--json` has the whole."""
_UNTOLD = frozenset(
    ("accept", "accept-encoding", "connection", "content-length", "date", "host", "server", "traceparent", "user-agent")
)
"""Headers every request or answer has; `--json` has them."""
_CALLS = {"start": "启动", "health": "健康检查", "deliver": "投递", "lookup": "按键查询", "recall": "撤回"}


def try_adapter(
    session: Session,
    name: Annotated[
        str | None, typer.Argument(metavar="[ADAPTER]", help="An instance of the running hub.", show_default=False)
    ] = None,
    plugin: Annotated[
        str | None, typer.Option(help="Without a hub: an installed plugin, with --set and the like.", show_default=False)
    ] = None,
    set: Set = None,
    secret_env: SecretEnv = None,
    secret_file: SecretFile = None,
    sample: Annotated[
        str | None,
        typer.Option(
            metavar="default|FILE",
            help="Hand a marked sample over, too: the default one, or with the fields of a JSON file. People there will see it.",
            show_default=False,
        ),
    ] = None,
    health_only: Annotated[bool, typer.Option("--health-only", help="Only ask for the health; the default.")] = False,
    unit: Annotated[str | None, typer.Option(help="The unit the sample is for.", show_default="one the adapter serves")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the sample there instead of taking it back.")] = False,
    fault: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND",
            help="With --plugin and a --sample: set this fault at its simulator first, e.g. timeout_after_accept (repeat for more).",
            show_default=False,
        ),
    ] = None,
    candidate: Annotated[bool, typer.Option("--candidate", help="With the candidate's settings.")] = False,
    record: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Save what went over the wire as a cassette for tests.", show_default=False),
    ] = None,
) -> None:
    """Try an adapter: request, answer, tries, error, log and trace, without touching real cases. Exit code 0 when all is well."""
    if (name is None) == (plugin is None):
        raise Failure("name an adapter of the hub, or a --plugin to try without one")
    if health_only and sample is not None:
        raise Failure("--health-only and --sample: one of them")
    if sample is None and (keep or unit or fault):
        raise Failure("--keep, --unit and --fault are about a --sample")
    fields = _fields(sample, unit)
    if name is not None:
        if set or secret_env or secret_file:
            raise Failure("settings are given with --plugin only; `hub adapter set` changes those of an adapter of the hub")
        if fault:
            raise Failure("--fault is for the simulator of a --plugin")
        body = {"sample": fields, "recall": not keep, "candidate": candidate, "record": record is not None}
        found = session.api.post_once(f"/adapters/{segment(name)}/try", body, within=_WITHIN)
        trial, cassette = found["trial"], found.get("cassette")
    else:
        trial, cassette = _without_a_hub(
            str(plugin), settings_of(set, secret_env, secret_file), fields, not keep, record, fault or ()
        )
    if record is not None and cassette is not None:
        _saved(record, cassette)
    session.answer(trial, lambda shown: _drawn(shown, record))
    if not trial["ok"]:
        raise Failure(f"tried: {trial['text']}")


def add_trying(app: typer.Typer) -> None:
    """Register `hub adapter try`."""
    asks_hub(app, "try", example="hub adapter try parks --sample default")(try_adapter)


def _fields(sample: str | None, unit: str | None) -> bool | dict[str, Any]:
    """What the sample is to be: False for none, True for the default one, or fields. Raises Failure naming the file."""
    if sample is None:
        return False
    fields: dict[str, Any] = {}
    if sample != "default":
        try:
            read = json.loads(Path(sample).read_text(encoding="utf-8"))
        except (OSError, ValueError) as problem:
            raise Failure(f"--sample {sample}: {problem}") from problem
        if not isinstance(read, dict):
            raise Failure(f"--sample {sample}: an object with fields of an assignment is expected")
        fields = read
    if unit is not None:
        fields["unit"] = unit
    return fields or True


def _without_a_hub(
    plugin: str,
    settings: Mapping[str, object],
    fields: bool | Mapping[str, Any],
    recall: bool,
    record: Path | None,
    faults: Sequence[str],
) -> tuple[dict[str, Any], str | None]:
    """Try a plugin in this process: the trial, and the text of a cassette where one is wanted."""
    from hub.contract import Adapter, AdapterInstance
    from hub.errors import HubError
    from hub.observing import logs  # not at the top: plugins are loaded only when one is tried here
    from hub.platform.adapters.plugins import Plugins
    from hub.platform.trial.cassette import Cassette
    from hub.platform.trial.sample import default_sample, given_sample
    from hub.platform.trial.trials import new_suffix
    from hub.platform.trial.trying import try_plugin

    logs.setup("error")
    simulator = _simulator(settings) if faults else ""

    async def troubled() -> None:
        for fault in faults:
            await asyncio.to_thread(_set_fault, simulator, fault)

    try:
        kind = Plugins().get(plugin)
        assignment = None
        if fields is not False:
            if not issubclass(kind, Adapter):
                raise Failure(f"{plugin} takes no assignments")
            base = default_sample(suffix=new_suffix(), now=datetime.now(UTC).astimezone(), unit=plugin)
            assignment = base if fields is True else given_sample(fields, base)
        instance = AdapterInstance(name=plugin, plugin=plugin, settings=settings)
        trial = asyncio.run(try_plugin(kind, instance, assignment=assignment, recall=recall, before_sample=troubled))
        return trial.to_json(), Cassette.of(trial).text() if record is not None else None
    except HubError as problem:
        raise Failure(problem.message) from problem


def _simulator(settings: Mapping[str, object]) -> str:
    """The simulator's address: the first setting that is an address of this machine. Raises Failure."""
    for value in settings.values():
        parts = urlsplit(value) if isinstance(value, str) and value.startswith(("http://", "https://")) else None
        if parts is not None and parts.hostname in ("127.0.0.1", "localhost", "::1"):
            return f"{parts.scheme}://{parts.netloc}"
    raise Failure("--fault: no setting is an address of a simulator on this machine")


def _set_fault(simulator: str, kind: str) -> None:
    """The next request gets it; raises Failure."""
    try:
        answer = httpx.post(f"{simulator}/_sim/faults", json={"kind": kind, "count": 1}, timeout=5, trust_env=False)
    except httpx.HTTPError as problem:
        raise Failure(f"--fault: {simulator} does not answer ({type(problem).__name__})") from problem
    if answer.status_code == 422:
        raise Failure(f"--fault: the simulator knows no {kind}")
    if not answer.is_success:
        raise Failure(f"--fault: {simulator} is no simulator ({answer.status_code})")


def _saved(file: Path, cassette: str) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(cassette, encoding="utf-8")
    except OSError as problem:
        raise Failure(f"--record {file}: {problem.strerror}") from problem


def _drawn(values: Mapping[str, Any], record: Path | None) -> Group:
    """The trial on the terminal."""
    from hub.platform.trial.values import from_json

    trial = from_json(values)
    parts: list[RenderableType] = []
    mark = Text("✓ " if trial.ok else "✗ ", "bold green" if trial.ok else "bold red")
    head = mark.append(trial.text, "bold")
    parts.append(head)
    parts.append(
        Text(
            f"{trial.instance} · 插件 {trial.plugin} {trial.plugin_version} · 设置版本 {trial.settings_version} · {_ms(trial.ms)}",
            "dim",
        )
    )
    if trial.assignment is not None:
        parts.append(Text(f"样件 {trial.assignment.get('title')} · 键 {trial.assignment.get('key')}", "dim"))
    for call in trial.calls:
        parts += [Text(), _call_line(call)]
        for exchange in call.exchanges:
            parts.append(_indented(_exchange(exchange), 2))
        if call.problem is not None:
            parts.append(_indented(_problem(call.problem), 2))
    if trial.unmapped:
        parts += [Text(), Text("未对照的词：" + "、".join(trial.unmapped), "yellow")]
    if trial.logs:
        parts += [Text(), _logs(trial.logs)]
    if trial.trace is not None:
        from hub.observing.case_trace import from_json as tree_from_json
        from hub.observing.case_trace import render

        parts += [
            Text(),
            Text("链路", "bold"),
            render(tree_from_json(trial.trace), zone=datetime.now().astimezone().tzinfo or UTC),
        ]
    if trial.left_out:
        parts += [Text(), Text(f"另有 {trial.left_out} 条请求或日志过多或过长，未保留", "yellow")]
    if record is not None:
        parts += [Text(), Text(f"已录制到 {record}")]
    return Group(*parts)


def _call_line(call: Any) -> Text:
    line = Text("✓ " if call.ok else "✗ ", "green" if call.ok else "red")
    line.append(_CALLS.get(call.call, call.call), "bold")
    if call.number > 1:
        line.append(f" 第 {call.number} 次", "yellow")
    line.append(f"  {_ms(call.ms)}", "dim")
    for name, value in (call.result or {}).items():
        if value not in ("", None) and name != "ok":
            line.append(f"  {name}={value}")
    return line


def _exchange(exchange: Any) -> Group:
    request, answer = exchange.request, exchange.answer
    asked = Text("→ ", "cyan")
    asked.append(f"{request.method} {request.url}", "bold")
    if exchange.waited_ms >= 1:
        asked.append(f"  按限速等待 {_ms(exchange.waited_ms)}", "yellow")
    parts: list[RenderableType] = [asked, *_content(request.headers, request.body)]
    if answer is None:
        parts.append(Text(f"← 没有应答  {_ms(exchange.ms)}  {exchange.error or ''}", "red"))
        return Group(*parts)
    came = Text("← ", "cyan")
    came.append(str(answer.status), "bold red" if answer.status >= 400 else "bold green")
    came.append(f"  {_ms(exchange.ms)}", "dim")
    if exchange.error is not None:
        came.append(f"  {exchange.error}", "red")
    parts += [came, *_content(answer.headers, answer.body)]
    return Group(*parts)


def _content(headers: Mapping[str, str], body: Any) -> Iterable[RenderableType]:
    for name, value in headers.items():
        if name not in _UNTOLD:
            yield _indented(Text(f"{name}: {value}", "dim"), 4)
    if body is None:
        yield _indented(Text("（未读完）", "yellow"), 4)
    elif body.kind == "left_out":
        yield _indented(Text(f"（{body.size} 字节，过长，未显示）", "yellow"), 4)
    elif body.kind == "binary":
        yield _indented(Text(f"（{body.size} 字节的二进制内容）", "yellow"), 4)
    elif body.kind != "empty":
        text = body.content if isinstance(body.content, str) else json.dumps(body.content, ensure_ascii=False, indent=2)
        cut = text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}\n… 共 {len(text)} 字，--json 显示全部"
        yield _indented(Text(cut), 4)


def _problem(problem: Any) -> Group:
    said = Text(f"{problem.error}（{problem.code}）", "bold red")
    said.append(f" {problem.message}")
    parts: list[RenderableType] = [said, Text(f"中枢会这样处理：{problem.next.text}", "yellow")]
    parts += [Text(f"  {line}", "dim") for line in problem.traceback]
    return Group(*parts)


def _logs(lines: Iterable[Any]) -> Table:
    table = Table(title="插件日志", title_justify="left", box=None, pad_edge=False, show_header=False)
    for line in lines:
        fields = " ".join(f"{name}={value}" for name, value in line.fields.items())
        table.add_row(Text(line.level, "dim"), line.event, Text(fields, "dim"))
    return table


def _indented(part: RenderableType, columns: int) -> Padding:
    return Padding(part, (0, 0, 0, columns), expand=False)


def _ms(ms: float) -> str:
    return f"{ms:.0f} 毫秒" if ms < 1000 else f"{ms / 1000:.1f} 秒"
