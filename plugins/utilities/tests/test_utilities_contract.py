from hub_utilities import UtilitiesAdapter
from hub_utilities.simulator import adapter_settings

from hub.testing.contract import AdapterContract


class TestUtilitiesContract(AdapterContract):
    adapter_class = UtilitiesAdapter
    simulator_module = "hub_utilities.simulator"
    adapter_settings = staticmethod(adapter_settings)
    unit = "water"
