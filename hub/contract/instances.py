"""An instance: a plugin with settings, areas and limits, as the configuration has it. Only the hub reads it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

from hub.contract.crosswalk import Crosswalk

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
"""What an instance may be called."""


class Placement(StrEnum):
    """Where a plugin's code runs."""

    HUB = "hub"
    """In the hub's own process."""
    PROCESS = "process"
    """In a worker process of its own beside the hub. The hub starts, bounds and restarts it."""
    REMOTE = "remote"
    """On the department's network: `hub adapter run NAME --creds FILE`."""


@dataclass(frozen=True, kw_only=True)
class AdapterInstance:
    """A plugin with settings, areas and limits. Version 0 is that of config/adapters.yaml, later ones are in the ledger."""

    name: str
    plugin: str
    enabled: bool = True
    settings: Mapping[str, object] = field(default_factory=dict)
    version: int = 0
    """Number of the change in the ledger that these settings are of; 0: as in the file."""
    units: tuple[str, ...] = ()
    """Units whose assignments go through it, besides those that name it in config/units.yaml."""
    areas: tuple[str, ...] = ()
    """Area codes it serves, with all below; empty: the whole district."""
    percent: int = 100
    """Share of the cases (drawn by case id) that it serves. The rest goes the way it went before."""
    placement: Placement | None = None
    """None: where the plugin's manifest asks for."""
    concurrency: int = 8
    """How many assignments are in the department's hands at once."""
    attempts: int = 8
    """Attempts per assignment before it becomes a dead letter."""
    backoff_base: timedelta = timedelta(seconds=5)
    backoff_cap: timedelta = timedelta(minutes=30)
    """Delay before attempt n+1: U(0, min(cap, base·2^n)), never before Retry-After."""
    schedule: tuple[timedelta, ...] = ()
    """Delays before the second, third … attempt, each ±10 %. They replace the exponential ones. Their number bounds the attempts."""
    rate_per_second: float | None = None
    """Most requests a second to the department's system through `Context.http`; None: no limit."""
    items_per_second: float = 100.0
    """Most items (feedback, cases) a second that it may bring in. Above that polls wait, and callbacks get 429: come later."""
    memory_mib: int = 1024
    """Most memory of its worker process."""
    breaker_window: int = 20
    breaker_minimum: int = 5
    breaker_ratio: float = 0.5
    breaker_open_for: timedelta = timedelta(seconds=30)
    """The breaker opens when this share of the last `window` calls (at least `minimum`) failed. Three probes follow."""
    crosswalk: Crosswalk | None = None
    """Entries that go before those of the plugin's own crosswalk."""
