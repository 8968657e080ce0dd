"""Fault scripts: the gate's answer to one request after the other, written down in one line.

    timeout_after_accept, error*3, ok, rate_limit(2s), garbage, huge(50MB), hang(5s), close

Each request uses up one step. `ok` lets it pass, `*N` repeats the step, the parentheses give a time (`2s`, `300ms`) or a size (`50MB`,
`20KB`). Lines and `# comments` are fine in a file. Played by the gate, before the faults set one by one.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from hub.testing.faults import FaultKind

_STEP = re.compile(r"(?P<name>[a-z_]+)(?:\((?P<amount>\d+(?:\.\d+)?)(?P<measure>ms|s|KB|MB)\))?(?:\*(?P<times>\d{1,4}))?")
_SECONDS = {"ms": 0.001, "s": 1.0}
_BYTES = {"KB": 1024, "MB": 1024 * 1024}
_TIMED = frozenset({FaultKind.RATE_LIMIT, FaultKind.HANG, FaultKind.DRIP})
_PLAYED = frozenset(FaultKind) - {FaultKind.DUPLICATE_CALLBACK, FaultKind.REORDER_CALLBACKS, FaultKind.OUTAGE}


@dataclass(frozen=True)
class Trouble:
    """What happens to one request; `kind` None: nothing."""

    kind: FaultKind | None
    seconds: float | None = None
    size: int | None = None


class Which(StrEnum):
    """Which requests use up a step."""

    FILING = "filing"
    """Those that file something."""
    ALL = "all"


class ScriptOrder(BaseModel):
    """Body of `POST /_sim/script`."""

    model_config = ConfigDict(extra="forbid")

    script: str = Field(max_length=100_000)
    only: Which = Which.FILING


class Script:
    """The steps that are left."""

    def __init__(self, steps: tuple[Trouble, ...] = (), only: Which = Which.FILING) -> None:
        self._steps = deque(steps)
        self._only = only

    def take(self, *, filing: bool) -> Trouble | None:
        """The step for the next request; None when the script has nothing to say about it."""
        if not self._steps or (self._only is Which.FILING and not filing):
            return None
        return self._steps.popleft()

    def left(self) -> list[str]:
        """The steps that are left, for `GET /_sim/script`."""
        return ["ok" if step.kind is None else step.kind.value for step in self._steps]


def parse_script(text: str) -> tuple[Trouble, ...]:
    """Read a script; raises ValueError with the step that is wrong."""
    lines = (line.partition("#")[0] for line in text.splitlines())
    steps: list[Trouble] = []
    for piece in filter(None, (part.strip() for line in lines for part in line.split(","))):
        found = _STEP.fullmatch(piece)
        if found is None:
            raise ValueError(f"not a step: {piece!r} (form: error*3, rate_limit(2s), huge(50MB))")
        steps += [_trouble(piece, found)] * int(found["times"] or 1)
    return tuple(steps)


def _trouble(piece: str, found: re.Match[str]) -> Trouble:
    name, measure = found["name"], found["measure"]
    if name == "ok":
        if measure is not None:
            raise ValueError(f"ok takes no amount: {piece!r}")
        return Trouble(None)
    if name not in _PLAYED:
        raise ValueError(f"not a step: {piece!r} (ok or one of {', '.join(sorted(_PLAYED))})")
    kind = FaultKind(name)
    if measure in _SECONDS and kind in _TIMED:
        return Trouble(kind, seconds=float(found["amount"]) * _SECONDS[measure])
    if measure in _BYTES and kind is FaultKind.HUGE:
        return Trouble(kind, size=int(float(found["amount"]) * _BYTES[measure]))
    if measure is not None:
        raise ValueError(f"{name} takes no amount in {measure}: {piece!r}")
    return Trouble(kind)
