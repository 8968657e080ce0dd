"""Reads adapters.yaml: which adapter instances there are, their settings and secrets, and how patient the hub is with each.

Owns the file's form and where secrets come from (the environment, or a file each). What a plugin's settings mean is the plugin's own
model's business. Called by `hub.config.district`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, ValidationInfo, model_validator

from hub.config.documents import Document, Form, Place, Scalar, refuse
from hub.config.fields import ClockSpan, Count, Known, Text, matching
from hub.contract import AdapterInstance, Crosswalk, FeedbackKind
from hub.contract.instances import NAME
from hub.model.answers import Reached, Satisfied, Solved

_MEANT: dict[str, Callable[[str], object]] = {
    "bool": lambda text: text.lower() in ("true", "yes", "on"),
    "int": int,
    "float": float,
}


class OutsideValue(str):
    """A setting from the environment or a file of its own (mostly a secret): a plain text that does not show in `repr`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


def _settings(given: dict[str, Any], info: ValidationInfo[Known]) -> dict[str, object]:
    """Settings with what comes from outside filled in; what is not there is a mistake of an enabled adapter, else it is left out."""
    missing: list[tuple[Place, str]] = []
    found = _filled(given, (), info.context.environ, missing)
    if info.data.get("enabled"):
        refuse((place, f"{what}, and the adapter is enabled") for place, what in missing)
    return found


def _filled(
    given: Mapping[str, object], place: Place, environ: Mapping[str, str], missing: list[tuple[Place, str]]
) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in given.items():
        if not isinstance(value, dict):
            found[name] = _plain(value)
        elif set(value) not in ({"env"}, {"file"}):
            found[name] = _filled(value, (*place, name), environ, missing)
        else:
            ((source, of),) = value.items()
            text, why = _outside(source, str(of or ""), environ)
            if text:
                found[name] = OutsideValue(text)
            else:
                missing.append(((*place, name), why))
    return found


def _outside(source: str, name: str, environ: Mapping[str, str]) -> tuple[str, str]:
    """The value of an environment variable or the text of a file, "" and why when there is none."""
    if source == "env":
        return environ.get(name, ""), f"environment variable {name} is not set"
    try:
        return Path(name).read_text(encoding="utf-8").strip(), f"file {name} is empty"
    except (OSError, UnicodeDecodeError) as error:
        return "", f"file {name} can't be read ({type(error).__name__})"


def _plain(value: object) -> object:
    """A setting as YAML means it: the plugin's own model says what it has to be."""
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if not isinstance(value, Scalar):
        return value
    try:
        return _MEANT.get(value.kind, str)(value)
    except ValueError:  # what YAML takes for a number can be a time: 13:30
        return str(value)


class _Backoff(Form):
    base: ClockSpan = AdapterInstance.backoff_base
    cap: ClockSpan = AdapterInstance.backoff_cap

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.cap < self.base:
            raise ValueError("cap is below base")
        return self


class _Breaker(Form):
    window: Count = AdapterInstance.breaker_window
    minimum: Count = AdapterInstance.breaker_minimum
    ratio: Annotated[float, Field(gt=0, le=1)] = AdapterInstance.breaker_ratio
    open_for: ClockSpan = AdapterInstance.breaker_open_for


class _Crosswalk(Form):
    statuses: dict[str, FeedbackKind] = Field(default_factory=dict)
    categories: dict[str, Text] = Field(default_factory=dict)
    fields: dict[str, Text] = Field(default_factory=dict)
    reached: dict[str, Reached] = Field(default_factory=dict)
    solved: dict[str, Solved] = Field(default_factory=dict)
    satisfied: dict[str, Satisfied] = Field(default_factory=dict)


class _Adapter(Form):
    plugin: Text
    enabled: bool = True
    settings: Annotated[dict[str, Any], AfterValidator(_settings)] = Field(default_factory=dict)
    concurrency: Count = AdapterInstance.concurrency
    attempts: Count | None = None
    backoff: _Backoff | None = None
    schedule: tuple[ClockSpan, ...] = ()
    breaker: _Breaker | None = None
    crosswalk: _Crosswalk | None = None


class _Adapters(Form):
    adapters: dict[Annotated[str, matching(NAME.pattern, "an instance's name (letters, digits, - and _)")], _Adapter]


def read_adapters(document: Document, environ: Mapping[str, str]) -> tuple[AdapterInstance, ...]:
    """The instances of adapters.yaml; in settings `{env: NAME}` is filled from `environ`, `{file: PATH}` from that file.

    A variable that is not set, or a file that can't be read, is a mistake when the adapter is enabled; else the setting is left out.
    """
    form = document.form(_Adapters, Known(environ=environ))
    return tuple(_instance(name, one) for name, one in form.adapters.items()) if form is not None else ()


def _instance(name: str, form: _Adapter) -> AdapterInstance:
    given = {key: value for key, value in form if key in form.model_fields_set}
    for part in ("backoff", "breaker"):
        given |= {f"{part}_{key}": value for key, value in given.pop(part, ())}
    if form.schedule and form.attempts is None:
        given["attempts"] = len(form.schedule) + 1
    if form.crosswalk is not None:
        given["crosswalk"] = Crosswalk(**dict(form.crosswalk))
    return AdapterInstance(name=name, **given)
