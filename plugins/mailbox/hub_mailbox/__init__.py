"""Mailbox plugin: registers `MailboxAdapter`."""

from __future__ import annotations

from collections.abc import Sequence

from hub import Adapter, hookimpl
from hub_mailbox.adapter import MailboxAdapter
from hub_mailbox.settings import MailboxSettings

__all__ = ["MailboxAdapter", "MailboxSettings", "hub_adapters"]


@hookimpl
def hub_adapters() -> Sequence[type[Adapter]]:
    """The adapter classes of this plugin."""
    return (MailboxAdapter,)
