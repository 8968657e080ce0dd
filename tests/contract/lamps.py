"""The smallest simulator on the chassis, for the chassis' own tests: a street-lamp office."""

from __future__ import annotations

import argparse
from typing import Any, ClassVar

from fastapi import FastAPI
from pydantic import BaseModel

from hub.testing.simulator import Simulator, Step, Ticket


class Order(BaseModel):
    key: str
    unit: str = "dept.lamps"


class LampSimulator(Simulator):
    """Street-lamp office."""

    department: ClassVar[str] = "lamps"
    prefix: ClassVar[str] = "LD"

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--explode", action="store_true")

    def routes(self, app: FastAPI) -> None:
        app.post("/orders")(self.order)
        app.get("/orders")(self.orders)

    async def order(self, order: Order) -> dict[str, Any]:
        ticket = self.file(key=order.key, unit=order.unit, body={})
        await self.store.durable()
        return {"ticket": ticket.ticket}

    async def orders(self) -> dict[str, Any]:
        return {"count": len(self.store.tickets())}

    def planned(self, ticket: Ticket) -> None:
        self.after(1, "accepted", ticket.ticket)

    def step(self, step: Step) -> None:
        ticket = self.store.ticket(step.ticket)
        assert ticket is not None
        if self.arguments.explode:
            raise RuntimeError("the ladder broke")
        self.store.set_ticket(ticket.ticket, state=step.kind)
        self.call_back(f"{ticket.ticket}-{step.kind}", {"ticket": ticket.ticket, "state": step.kind}, ticket=ticket)
        if step.kind == "accepted":
            self.after(1, "done", ticket.ticket)


if __name__ == "__main__":
    LampSimulator.main()
