"""Makes the answers of one adapter: CloudEvents. The same statement has the same id, however often it is made. Pure but for the clock."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import msgspec

from hub.contract import Feedback, IncomingCase
from hub.contract.values import Said
from hub.observing import telemetry
from hub.platform.remote import messages
from hub.platform.remote.far.journal import Out
from hub.platform.remote.messages import AnswerName
from hub.platform.remote.protocol import encode


class Saying:
    """Says things in the name of one adapter."""

    def __init__(self, name: str, clock: Callable[[], datetime]) -> None:
        self._source = f"/adapters/{name}"
        self._clock = clock

    def out(self, kind: AnswerName, id: str, data: msgspec.Struct, *, subject: str | None = None) -> Out:
        """An answer that waits to be sent."""
        body = encode(
            "answer",
            kind.value,
            data,
            id=id,
            source=self._source,
            at=self._clock(),
            subject=subject,
            traceparent=telemetry.traceparent(),
        )
        return Out(kind=kind.value, id=id, body=body)

    def item(self, item: Feedback | IncomingCase) -> Out:
        """What a poll or callback brought; its id is the department's own."""
        if isinstance(item, IncomingCase):
            return self.out(AnswerName.CASE, f"case:{item.ref}"[:500], item)
        return self.out(AnswerName(item.kind.value), item.id, Said.of(item), subject=item.key)

    def aside(self, item: str, reason: str) -> Out:
        """What can't be used."""
        return self.out(
            AnswerName.ASIDE, f"aside:{item}"[:500], messages.Aside(item=item.strip()[:500] or "?", reason=reason[:2000])
        )

    def unmapped(self, table: str, word: str, about: str | None) -> Out:
        """A word that is in no table."""
        data = messages.Unmapped(table=table, word=word.strip()[:500] or "?", about=about)
        return self.out(AnswerName.UNMAPPED, f"{table}:{word}"[:500], data)
