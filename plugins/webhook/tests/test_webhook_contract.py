from hub_webhook import WebhookAdapter
from hub_webhook.simulator import adapter_settings

from hub.testing.contract import AdapterContract


class TestWebhookContract(AdapterContract):
    adapter_class = WebhookAdapter
    simulator_module = "hub_webhook.simulator"
    adapter_settings = staticmethod(adapter_settings)
    unit = "parks"
