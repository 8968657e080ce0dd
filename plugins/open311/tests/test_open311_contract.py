"""The contract suite against a server with FixMyStreet's updates, and against one of the bare standard in XML."""

from typing import Any

import pytest
from hub_open311 import Open311Adapter
from hub_open311.simulator import adapter_settings
from msgspec.structs import replace

from hub import Adapter, Refused
from hub.testing.contract import AdapterContract


class TestOpen311Contract(AdapterContract):
    adapter_class = Open311Adapter
    simulator_module = "hub_open311.simulator"
    adapter_settings = staticmethod(adapter_settings)
    unit = "city"


class TestBareOpen311Contract(AdapterContract):
    adapter_class = Open311Adapter
    simulator_module = "hub_open311.simulator"
    simulator_options = ("--no-updates",)
    unit = "city"

    @staticmethod
    def adapter_settings(url: str, secret: str) -> dict[str, Any]:
        return {**adapter_settings(url, secret), "format": "xml"}

    async def test_urging_reaches_the_department(self, adapter: Adapter) -> None:
        assignment = self.assignment()
        receipt = await adapter.deliver(assignment)
        with pytest.raises(Refused, match="不予受理"):
            await adapter.urge(replace(assignment, ticket=receipt.ticket), "请尽快处理")
