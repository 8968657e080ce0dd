from hub_page import PageAdapter
from hub_page.simulator import adapter_settings

from hub.testing.contract import AdapterContract


class TestPageContract(AdapterContract):
    adapter_class = PageAdapter
    simulator_module = "hub_page.simulator"
    adapter_settings = staticmethod(adapter_settings)
    unit = "landscaping"
