"""What `hub demo` can be told. Values only; the command line fills them, `hub.demo.run` reads them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

SHIPPED = Path(__file__).with_name("requests.csv")
"""The requests the project ships, written for the demo."""


@dataclass(frozen=True, kw_only=True)
class DemoOptions:
    """How the demo runs."""

    replay: Path | None = None
    """CSV of requests to replay; None: the requests the project ships."""
    limit: int | None = None
    """At most so many requests; None: all."""
    exit: bool = False
    """End when everything is settled, instead of serving until Ctrl-C."""
    json: bool = False
    """Print one JSON object at the end and nothing else on standard output (progress goes to standard error)."""
    rate: float | None = None
    """Requests per second; None: as fast as the hub takes them."""
    seed: int = 1
    """Seed of everything that is drawn: who is content, how long people take, which request meets a fault."""
    pace: float = 0.5
    """Seconds the departments' people take for one step (look, accept, work); the hub's own people take about as long."""
    scenes: bool | None = None
    """Play stories 1-4 first; None: yes, except with `json`, so that a script's totals are those of its file."""
    patience: float = 90.0
    """With `exit`: give up waiting after so many seconds in which nothing changed."""

    @property
    def plays_scenes(self) -> bool:
        """Whether the four stories are played before the replay."""
        return not self.json if self.scenes is None else self.scenes
