"""Looking at matters in tests."""

from typing import Any

from hub.app import Hub
from hub.model.case import CASE
from hub.model.case.state import Case, CaseId
from hub.spine.ledger.desk import Desk
from hub.spine.ledger.store import CheckpointFile, Ledger


async def case_of(hub: Hub, id: CaseId) -> Case | None:
    """The case as the ledger has it."""
    folded = await hub.desk.load(id)
    return None if folded is None else folded.state


def second_desk(hub: Hub, folder: Any) -> Desk[Case, Any, Any]:
    """A desk beside the hub's own, as another process has it."""
    ledger = Ledger(hub.bus, CheckpointFile(folder / "other.json"), hub.aggregates)
    return Desk(CASE, ledger, lambda: hub.rulebook.rules().rules)
