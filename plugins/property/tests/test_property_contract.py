from hub_property import PropertyAdapter
from hub_property.simulator import adapter_settings

from hub.testing.contract import AdapterContract


class TestPropertyContract(AdapterContract):
    adapter_class = PropertyAdapter
    simulator_module = "hub_property.simulator"
    adapter_settings = staticmethod(adapter_settings)
    unit = "property"
