"""The generated parts of docs/plugins/reference.md and its Chinese version: read from the code, never written by hand.

The Chinese sentences are in docs/plugins/reference.zh-CN.yaml, by the names of what they say; a test names those that are missing.
Called by docs/generate.py.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import types
import typing
from collections.abc import Callable, Mapping
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import yaml

CHINESE = Path(__file__).parent / "plugins" / "reference.zh-CN.yaml"

_NOTHING = (dataclasses.MISSING, msgspec.NODEFAULT)
_ASKED: set[str] = set()
_HEADS = {
    "en": {"field": "field", "type": "type", "default": "default", "what": "what", "method": "method", "value": "value"},
    "zh": {"field": "字段", "type": "类型", "default": "默认值", "what": "含义", "method": "方法", "value": "取值"},
}


@cache
def chinese() -> Mapping[str, str]:
    """Name → sentence."""
    found: dict[str, str] = yaml.safe_load(CHINESE.read_text(encoding="utf-8"))
    return found


def hooks(language: str) -> str:
    """Every hook with its live signature."""
    from hub import hookspecs

    parts = []
    for name, hook in sorted(vars(hookspecs).items()):
        if hasattr(hook, f"{hookspecs.PROJECT}_spec"):
            signature = str(inspect.signature(hook)).replace("'", "")
            parts.append(f"```text\n{name}{signature}\n```\n\n{_said(language, name, inspect.getdoc(hook))}")
    return "\n\n".join(parts)


def methods(language: str) -> str:
    """Every method of Adapter."""
    from hub.contract import Adapter, Plugin
    from hub.contract.plugin import Bringing

    rows = []
    for name, method in (dict(vars(Plugin)) | dict(vars(Adapter)) | dict(vars(Bringing))).items():
        if not name.startswith("_") and inspect.isfunction(method):
            rows.append((f"`{name}{_arguments(method)}`", _said(language, f"Adapter.{name}", inspect.getdoc(method))))
    return _table(language, ("method", "what"), rows)


def manifest(language: str) -> str:
    """Fields of the manifest."""
    from hub.contract import Manifest

    return _fields(language, Manifest)


def capabilities(language: str) -> str:
    """What can be declared, and the method behind it."""
    from hub.contract import Adapter, Capability
    from hub.platform.adapters.plugins import METHODS

    notes = _notes(Capability)
    rows = []
    for one in Capability:
        method = METHODS.get(one)
        said = notes.get(one.name) or (method and inspect.getdoc(getattr(Adapter, method)))
        rows.append((f"`{one.name}`", f"`{method}`" if method else "–", _said(language, f"Capability.{one.value}", said)))
    return _table(language, ("value", "method", "what"), rows)


def values(language: str) -> str:
    """Everything that crosses the border, in the order of the source."""
    from hub import contract
    from hub.contract import crosswalk, plugin
    from hub.contract import values as module

    parts = []
    found = [*vars(module).values(), crosswalk.Crosswalk, plugin.Context, plugin.ConsolePage]
    for one in found:
        if not inspect.isclass(one) or one.__name__ not in contract.__all__:
            continue
        said = _said(language, one.__name__, inspect.getdoc(one))
        if dataclasses.is_dataclass(one) or issubclass(one, msgspec.Struct):
            parts.append(f"#### {one.__name__}\n\n{said}\n\n{_fields(language, one)}")
        elif issubclass(one, Enum):
            parts.append(f"#### {one.__name__}\n\n{said}\n\n{', '.join(f'`{member.value}`' for member in one)}")
        else:
            parts.append(f"#### {one.__name__}\n\n{said}")
    return "\n\n".join(parts)


def routes(language: str) -> str:
    """What a mount is, and what the hub lets it do."""
    from hub.contract import routes as module

    parts = []
    for one in vars(module).values():
        if not inspect.isclass(one) or one.__module__ != module.__name__:
            continue
        said = _said(language, one.__name__, inspect.getdoc(one))
        table = _fields(language, one) if dataclasses.is_dataclass(one) else _members(language, one)
        parts.append(f"#### {one.__name__}\n\n{said}\n\n{table}".rstrip())
    return "\n\n".join(parts)


def _members(language: str, kind: type) -> str:
    """Public methods and properties of a class."""
    rows = []
    for name, member in vars(kind).items():
        made = member.fget if isinstance(member, property) else member
        if name.startswith("_") or not inspect.isfunction(made):
            continue
        shown = f"`{name}`" if made is not member else f"`{name}{_arguments(made)}`"
        rows.append((shown, _said(language, f"{kind.__name__}.{name}", inspect.getdoc(made))))
    return _table(language, ("method", "what"), rows) if rows else ""


def errors(language: str) -> str:
    """What to raise, and what the hub does then."""
    from hub import errors as module

    does = {
        module.Disposition.RETRY: ("tries again: seconds inside the attempt, then minutes", "重试：一次投递内按秒，之后按分钟"),
        module.Disposition.PAUSE: (
            "pauses this adapter and says so; no attempt is spent",
            "暂停该适配器并说明；不消耗投递次数",
        ),
        module.Disposition.REFUSE: ("shows it to the operator; no retry", "交操作员处理；不重试"),
        module.Disposition.UNKNOWN: ("`lookup` by key; never a blind resend", "按编号 `lookup`；绝不盲目重发"),
        module.Disposition.FAULT: ("few tries, then the operator", "试几次后交操作员"),
    }
    rows = []
    for one in vars(module).values():
        if inspect.isclass(one) and issubclass(one, module.DeliveryError) and one is not module.DeliveryError:
            then = does[module.disposition_of(one("x"))][language == "zh"]
            rows.append((f"`{one.__name__}`", f"`{one.code}`", _said(language, one.__name__, inspect.getdoc(one)), then))
    heads = ("raise", "code", "when", "the hub") if language == "en" else ("抛出", "代码", "何时", "中枢")
    return _plain_table(heads, rows)


def instance(language: str) -> str:
    """What an operator sets for an instance, besides the plugin's own settings."""
    from hub.contract import AdapterInstance

    return _fields(language, AdapterInstance)


def faults(language: str) -> str:
    """What a simulator can do wrong."""
    from hub.testing.faults import FaultKind

    notes = _notes(FaultKind)
    rows = [(f"`{one.value}`", _said(language, f"FaultKind.{one.value}", notes[one.name])) for one in FaultKind]
    return _table(language, ("value", "what"), rows)


def suite(language: str) -> str:
    """Every test of the contract suite."""
    from hub.testing.contract import AdapterContract

    rows = []
    for name, test in inspect.getmembers(AdapterContract, inspect.isfunction):
        if name.startswith("test_"):
            rows.append((name.removeprefix("test_").replace("_", " "), _said(language, name, inspect.getdoc(test))))
    return _plain_table(("test", "what") if language == "en" else ("测试", "含义"), rows)


def _fields(language: str, kind: Any) -> str:
    fields: Any = msgspec.structs.fields(kind) if issubclass(kind, msgspec.Struct) else dataclasses.fields(kind)
    notes: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if base.__module__.startswith(("hub.contract", "hub.model.positions")):
            notes |= _notes(base)
    rows = []
    for one in sorted(fields, key=lambda one: one.default not in _NOTHING or one.default_factory not in _NOTHING):
        if one.default not in _NOTHING:
            default = f"`{_shown(one.default)}`"
        else:
            default = "–" if one.default_factory in _NOTHING else f"`{_shown(one.default_factory())}`"
        shown = (one.type if isinstance(one.type, str) else _type(one.type)).replace("|", "\\|")
        said = " ".join((_said(language, f"{kind.__name__}.{one.name}", notes.get(one.name)), *_bounds(one.type, language)))
        rows.append((f"`{one.name}`", f"`{shown}`", default, said.strip()))
    return _table(language, ("field", "type", "default", "what"), rows)


def _type(hint: Any) -> str:
    """A type as an author writes it, without its bounds."""
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return _type(parts[0])
    if origin in (typing.Union, types.UnionType):
        return " | ".join(map(_type, parts))
    if origin is not None:
        return f"{origin.__name__}[{', '.join(map(_type, parts))}]"
    return {type(None): "None", Ellipsis: "..."}.get(hint) or str(hint.__name__)


def _bounds(hint: Any, language: str) -> list[str]:
    """The bounds of a type, in words."""
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return [said for part in parts for said in _bounds(part, language)]
    if origin is not typing.Annotated:
        return []
    most = parts[1].max_length
    if most is None:
        return []
    of = ("characters", "个字符") if parts[0] is str else ("entries", "项")
    return [f"At most {most} {of[0]}." if language == "en" else f"最多 {most} {of[1]}。"]


def _shown(value: object) -> str:
    if isinstance(value, Enum):
        return f"{type(value).__name__}.{value.name}"
    if type(value).__name__ == "timedelta":
        return f"{value.total_seconds():g} s"  # type: ignore[attr-defined]
    if dataclasses.is_dataclass(value):
        return f"{type(value).__name__}()"
    return repr(value)


def _notes(kind: type) -> dict[str, str]:
    """The docstring under each field or member."""
    (tree,) = ast.parse(inspect.getsource(kind)).body
    assert isinstance(tree, ast.ClassDef)
    found: dict[str, str] = {}
    names: list[str] = []
    for node in tree.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names = [node.target.id]
        elif isinstance(node, ast.Assign):
            names = [target.id for target in node.targets if isinstance(target, ast.Name)]
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            found |= dict.fromkeys(names, " ".join(node.value.value.split()))
            names = []
    return found


def _said(language: str, name: str, english: str | None) -> str:
    """The sentence; English where there is no Chinese one yet, which a test names."""
    said = " ".join((english or "").split())
    if language == "zh":
        _ASKED.add(name)
        said = chinese().get(name, said)
    return said.replace("|", "\\|")


def _arguments(method: types.FunctionType) -> str:
    signature = inspect.signature(method)
    names = [str(one).replace("'", "") for one in signature.parameters.values() if one.name != "self"]
    answer = signature.return_annotation
    returns = "" if answer in (None, "None", inspect.Signature.empty) else f" -> {answer}"
    return f"({', '.join(names)}){returns}".replace("|", "\\|")


def _table(language: str, heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    return _plain_table(tuple(_HEADS[language][head] for head in heads), rows)


def _plain_table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = (heads, ("---",) * len(heads), *rows)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


_PARTS = {
    "hooks": hooks,
    "adapter-methods": methods,
    "manifest": manifest,
    "capabilities": capabilities,
    "values": values,
    "routes": routes,
    "errors": errors,
    "instance": instance,
    "faults": faults,
    "suite": suite,
}


def parts() -> dict[str, Callable[[], str]]:
    """Every part by its name; the Chinese ones end in `-zh`."""

    def part(make: Callable[[str], str], language: str) -> Callable[[], str]:
        return lambda: make(language)

    return {
        f"{name}{suffix}": part(make, language)
        for name, make in _PARTS.items()
        for language, suffix in (("en", ""), ("zh", "-zh"))
    }


def names() -> set[str]:
    """What the Chinese page needs a sentence for."""
    _ASKED.clear()
    for make in _PARTS.values():
        make("zh")
    return set(_ASKED)
