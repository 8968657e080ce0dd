"""Webhook plugin: registers `WebhookAdapter`."""

from __future__ import annotations

from collections.abc import Sequence

from hub import Adapter, hookimpl
from hub_webhook.adapter import WebhookAdapter
from hub_webhook.settings import WebhookSettings

__all__ = ["WebhookAdapter", "WebhookSettings", "hub_adapters"]


@hookimpl
def hub_adapters() -> Sequence[type[Adapter]]:
    """The adapter classes of this plugin."""
    return (WebhookAdapter,)
