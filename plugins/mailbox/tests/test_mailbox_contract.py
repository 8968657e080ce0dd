from hub_mailbox import MailboxAdapter
from hub_mailbox.simulator import adapter_settings

from hub.testing.contract import AdapterContract


class TestMailboxContract(AdapterContract):
    adapter_class = MailboxAdapter
    simulator_module = "hub_mailbox.simulator"
    over_http = True
    adapter_settings = staticmethod(adapter_settings)
