"""The registry: the instances' records in the ledger, with their secrets sealed apart.

Owns `ledger.adapter.<name>`. Refuses a change of an older state (LedgerConflict). Called by the roster and by registration.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import msgspec
from pydantic import BaseModel

from hub.bus.connection import Bus, WrongSequence
from hub.bus.streams import LEDGER
from hub.errors import LedgerConflict
from hub.platform.instances.book import InstanceRecord, decode_record, digest_of, encode_record
from hub.platform.instances.sealing import Sealing

ALL = "ledger.adapter.>"


def subject_of(name: str) -> str:
    """Where an instance's records are filed."""
    return f"ledger.adapter.{name}"


class Registry:
    """Records of instances."""

    def __init__(self, bus: Bus, sealing: Sealing) -> None:
        self._bus = bus
        self._sealing = sealing
        self._seen = 0

    async def load(self) -> dict[str, InstanceRecord]:
        """The record in force of every instance that has any, removed ones too."""
        found: dict[str, InstanceRecord] = {}
        for message in await self._bus.all_of(LEDGER, ALL):
            record = decode_record(message.data)
            found[record.name] = record
            self._seen = message.sequence
        return found

    async def history(self, name: str) -> list[InstanceRecord]:
        """Every record of one instance, oldest first."""
        return [decode_record(message.data) for message in await self._bus.all_of(LEDGER, subject_of(name))]

    async def append(self, record: InstanceRecord) -> InstanceRecord:
        """Store the next record; raises LedgerConflict when another change came first, BusUnavailable when nothing was confirmed."""
        subject = subject_of(record.name)
        last = await self._bus.last(LEDGER, subject)
        before = decode_record(last.data).version if last is not None else 0
        if record.version != before + 1:
            raise LedgerConflict(f"{record.name} was changed meanwhile: it is at version {before}", subject=record.name)
        chained = msgspec.structs.replace(record, previous="" if last is None else digest_of(last.data))
        try:
            await self._bus.publish(subject, encode_record(chained), expect=0 if last is None else last.sequence)
        except WrongSequence as problem:
            raise LedgerConflict(f"{record.name} was changed meanwhile", subject=record.name) from problem
        return chained

    async def follow(self) -> AsyncIterator[InstanceRecord]:
        """Every record behind those that were loaded, this process's own too; for ever. One that fails its taker comes again."""
        async for messages in self._bus.follow(LEDGER, ALL, self._seen):
            for message in messages:
                yield decode_record(message.data)
                self._seen = message.sequence

    async def seal(self, name: str, settings: Mapping[str, Any], model: BaseModel | None) -> dict[str, Any]:
        """The settings with references in place of secrets."""
        return await self._sealing.seal(name, settings, model)

    async def open(self, name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
        """The settings with the secrets in place; raises PluginError."""
        return await self._sealing.open(name, settings)

    async def forget(self, settings: Mapping[str, Any]) -> None:
        """Remove the secrets settings refer to."""
        await self._sealing.forget(settings)
