"""Dispatch: durable queues, attempts, retries, dead letters. Started by the composition root."""

from hub.spine.dispatch.follow_up import backoff
from hub.spine.dispatch.lanes import Dispatch, durable_of

__all__ = ["Dispatch", "backoff", "durable_of"]
