"""Deadlines: when a case's timer fires, the case is asked to take every step that is due.

Timers are JetStream schedules that linkage sets from the commits' `wake_at`; here they only come in. A timer that fires early
(its limit was moved or the case suspended) is set again or does nothing. Started by the composition root.
"""

from __future__ import annotations

import asyncio

import structlog

from hub import telemetry
from hub.bus.connection import Bus
from hub.bus.pull import Delivery, PullConsumer
from hub.bus.streams import TIMERS, ensure_consumer
from hub.bus.timers import DUE, set_timer
from hub.cancellation import raise_if_cancelled
from hub.desk import Desk
from hub.errors import BusUnavailable, InvalidInput, LedgerConflict
from hub.model.cases import SYSTEM, CaseId
from hub.model.commands import CheckDeadlines

log = structlog.get_logger("hub.deadlines")

DURABLE = "deadlines"


class Deadlines:
    """Works due timers."""

    def __init__(self, bus: Bus, desk: Desk) -> None:
        self._bus = bus
        self._desk = desk

    async def run(self) -> None:
        """Work due timers for ever."""
        await ensure_consumer(self._bus, TIMERS, DURABLE, subject=f"{DUE}>", most_pending=10_000)
        async with PullConsumer(self._bus, TIMERS, DURABLE, capacity=64) as consumer, asyncio.TaskGroup() as group:
            while True:
                raise_if_cancelled()
                group.create_task(self._due(await consumer.next()))

    async def _due(self, delivery: Delivery) -> None:
        case_id = CaseId(delivery.subject.removeprefix(DUE))
        try:
            case = await self._desk.load(case_id)
            if case is None or case.stage.ended:
                await delivery.ack()
                return
            links = (case.opening_trace, case.last_trace)
            with telemetry.span("process timer.due", kind="consumer", root=True, links=links, case=case_id):
                outcome = await self._desk.execute(case_id, CheckDeadlines(), actor=SYSTEM, cause=case.last_trace)
                if not outcome.events and outcome.case.next_due is not None:
                    await set_timer(self._bus, case_id, outcome.case.next_due)
            await delivery.ack()
        except (BusUnavailable, LedgerConflict) as problem:
            log.warning("timer comes again", case=case_id, reason=problem.message)
            await delivery.retry(1.0)
        except InvalidInput as problem:
            log.error("timer without effect", case=case_id, reason=problem.message)
            await delivery.stop()
        finally:
            delivery.forget()
