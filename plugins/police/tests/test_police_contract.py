"""The police plugin keeps the adapter contract."""

from __future__ import annotations

from hub_police import PoliceAdapter
from hub_police.simulator import adapter_settings

from hub.testing.contract import AdapterContract


class TestPoliceContract(AdapterContract):
    adapter_class = PoliceAdapter
    simulator_module = "hub_police.simulator"
    adapter_settings = staticmethod(adapter_settings)
    unit = "dept.police"
