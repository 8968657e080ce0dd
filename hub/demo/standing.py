"""How the demo stands, read from the hub's own summary (`GET /api/v1/summary`). Called by `hub.demo.run`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hub.demo.display import Standing


def read_standing(summary: Mapping[str, Any]) -> Standing:
    """The hub's figures as the demo shows them."""
    units = {str(unit["unit"]): unit for unit in summary["units"]}
    latency = summary["dispatch_ms"]
    return Standing(
        cases=int(summary["cases"]),
        closed=int(summary["closed"]),
        open=int(summary["open"]),
        dead=int(summary["dead"]),
        void=int(summary["void"]),
        merged=int(summary["merged"]),
        retries=int(summary["retries"]),
        dispatched={name: int(unit["assignments"]) for name, unit in units.items()},
        waiting={name: int(unit["open"]) for name, unit in units.items()},
        p50=latency["p50"],
        p99=latency["p99"],
    )
