from hub_hotline import HotlineAdapter
from hub_hotline.simulator import adapter_settings

from hub.testing.contract import AdapterContract


class TestHotlineContract(AdapterContract):
    adapter_class = HotlineAdapter
    simulator_module = "hub_hotline.simulator"
    adapter_settings = staticmethod(adapter_settings)
    unit = "dept.hotline"
