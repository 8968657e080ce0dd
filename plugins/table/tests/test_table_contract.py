from __future__ import annotations

import pytest
from hub_table import TableAdapter
from hub_table.simulator import adapter_settings
from msgspec.structs import replace

from hub import Adapter, OutcomeUnknown, Refused, Unavailable
from hub.testing.contract import AdapterContract
from hub.testing.kit import MemoryStore, running_adapter
from hub.testing.process import SimulatorProcess

SECRET = "a folder has none"


class Dying(MemoryStore):
    """A store that ends with the process at the given write of an entry."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.left = at

    async def put(self, key: str, value: bytes) -> None:
        if key.startswith("row."):
            self.left -= 1
            if self.left == 0:
                raise OutcomeUnknown("killed here")
        await super().put(key, value)


class TestTableContract(AdapterContract):
    adapter_class = TableAdapter
    simulator_module = "hub_table.simulator"
    over_http = False
    adapter_settings = staticmethod(adapter_settings)

    # A folder has no answer to lose, no credentials, and no process that must be up. What takes their place:

    async def test_assignment_the_department_does_not_want_is_refused(
        self, adapter: Adapter, department: SimulatorProcess
    ) -> None:
        """A folder can't say no; the one no is that of a unit that isn't served."""
        settings = {**adapter_settings(department.url, SECRET), "units": ["water"]}
        async with running_adapter(TableAdapter, settings) as strict:
            with pytest.raises(Refused, match="police"):
                await strict.deliver(replace(self.assignment(), unit="police"))
        assert not any(ticket["unit"] == "police" for ticket in department.tickets())

    @pytest.mark.parametrize(("killed_at", "listed"), [(1, False), (2, True)])
    async def test_lost_answer_leads_to_one_ticket(self, killed_at: int, listed: bool, department: SimulatorProcess) -> None:  # type: ignore[override]
        """Killed before or after the rename, the next process finds out which; the row is there once."""
        store = Dying(killed_at)
        assignment = self.assignment()
        settings = adapter_settings(department.url, SECRET)
        async with running_adapter(TableAdapter, settings, store=store) as dying:
            with pytest.raises(OutcomeUnknown):
                await dying.deliver(assignment)
        async with running_adapter(TableAdapter, settings, store=store) as next_one:
            found = await next_one.lookup(assignment)
            assert (found is not None) == listed
            receipt = await next_one.deliver(assignment)
        assert [t["ticket"] for t in department.tickets() if t["key"] == assignment.key] == [receipt.ticket]

    async def test_rate_limit_is_unavailable_until_the_stated_time(
        self, adapter: Adapter, department: SimulatorProcess
    ) -> None:
        """A share that is away doesn't say for how long."""
        department.fault("rate_limit", seconds=30)
        with pytest.raises(Unavailable):
            await adapter.deliver(self.assignment())

    async def test_department_that_is_down_is_unavailable(self, adapter: Adapter, department: SimulatorProcess) -> None:
        """Nobody has to be at work: what is listed meanwhile is read later."""
        assignment = self.assignment()
        department.kill()
        try:
            receipt = await adapter.deliver(assignment)
        finally:
            department.start()
        assert [t["ticket"] for t in department.tickets() if t["key"] == assignment.key] == [receipt.ticket]

    async def test_rejected_credentials_are_told_apart(self, adapter: Adapter, department: SimulatorProcess) -> None:
        """There are none; that a folder may not be used is tested in test_table_folder."""

    async def test_wrong_secret_is_rejected_by_the_department(self, department: SimulatorProcess) -> None:
        """There is none."""
