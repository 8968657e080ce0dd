"""The lifecycle of a case: `decide` says what a command does, `evolve` and `fold` what a case is after its events.

Owns every business rule about a case. Pure: no clock, no I/O, no randomness; the policy answers through `hub.model.rules.Rules`.
Called by the desk (decide, fold, wake_at), the ledger and the projector (fold).
"""

from __future__ import annotations

from hub.model.lifecycle.decide import decide
from hub.model.lifecycle.evolve import EVOLVES, evolve
from hub.model.lifecycle.fold import fold, wake_at

__all__ = ["EVOLVES", "decide", "evolve", "fold", "wake_at"]
