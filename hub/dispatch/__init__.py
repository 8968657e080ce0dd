"""Dispatch: durable queues, attempts, retries, dead letters. Started by the composition root."""

from hub.dispatch.lanes import Dispatch, durable_of
from hub.dispatch.retry import backoff

__all__ = ["Dispatch", "backoff", "durable_of"]
