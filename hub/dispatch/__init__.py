"""Dispatch: durable queues, attempts, retries, dead letters. Started by the composition root."""

from hub.attempts import backoff
from hub.dispatch.lanes import Dispatch, durable_of

__all__ = ["Dispatch", "backoff", "durable_of"]
