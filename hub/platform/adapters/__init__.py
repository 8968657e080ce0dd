"""Adapters: finds plugins, holds them to the contract, builds and runs them. The one place that catches their arbitrary exceptions.

plugins: the installed ones; calls, soundness, running: a plugin at work; book, sealing, registry: the instances of the ledger; roster: all
instances of this process. Called by dispatch, report-back and the API.
"""

from hub.platform.adapters.plugins import Plugins, check_class, discover
from hub.platform.adapters.roster import Adapters
from hub.platform.adapters.running import Away, Instance, Pause, Running, build
from hub.platform.instances.status import AdapterStatus

__all__ = [
    "AdapterStatus",
    "Adapters",
    "Away",
    "Instance",
    "Pause",
    "Plugins",
    "Running",
    "build",
    "check_class",
    "discover",
]
