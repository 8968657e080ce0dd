"""The record of words heard: which status words an instance's department used, how often, when last and about what.

Owns `words.<instance>` in the bucket RECONCILIATION. It counts in memory and writes every few seconds, never once per feedback. So a killed
process loses the counts of its last seconds. Bounded. Adapters' crosswalks tell it; the dry run of another crosswalk reads it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Final

import msgspec
import structlog

from hub.bus.buckets import Bucket, revise
from hub.contract import FeedbackKind
from hub.errors import HubError
from hub.privacy.marks import plain
from hub.privacy.masks import mask_text
from hub.spine.ledger.desk import utc_now

log = structlog.get_logger("hub.crosswalk")

HOLD = 15.0
"""Seconds between writes."""
MOST_WORDS = 300
"""Most words kept of one instance. Further ones are counted under OTHERS."""
MOST_ABOUT = 20
"""Deliveries remembered of each word, latest first."""
MOST_LETTERS = 100
OTHERS: Final = "*"


class HeardWord(msgspec.Struct, frozen=True, kw_only=True):
    """A status word. `result`: its meaning when last heard; None: it was in no table. `about`: keys or tickets."""

    word: str
    count: int
    first_at: datetime
    last_at: datetime
    result: FeedbackKind | None = None
    about: tuple[str, ...] = ()


_decode = msgspec.json.Decoder(list[HeardWord]).decode


class HeardWords:
    """The words of all instances."""

    def __init__(self, bucket: Bucket, *, clock: Callable[[], datetime] = utc_now, hold: float = HOLD) -> None:
        self._bucket = bucket
        self._clock = clock
        self._hold = hold
        self._fresh: dict[str, dict[str, HeardWord]] = {}
        self._writer: asyncio.Task[None] | None = None

    def heard(self, instance: str, word: str, result: FeedbackKind | None, about: str | None) -> None:
        """Count a word; never raises, writes nothing now."""
        now = self._clock()
        shown = mask_text(plain(str(word)[:MOST_LETTERS]))
        ref = (plain(str(about)[:200]),) if about else ()
        words = self._fresh.setdefault(instance, {})
        if shown not in words and len(words) >= MOST_WORDS:
            shown, result = OTHERS, None
        new = HeardWord(word=shown, count=1, first_at=now, last_at=now, result=result, about=ref)
        words[shown] = merged(words[shown], new) if shown in words else new
        if self._writer is None or self._writer.done():
            self._writer = asyncio.get_running_loop().create_task(self._write_later(), name="words heard")

    async def of(self, instance: str) -> list[HeardWord]:
        """The words of one instance, this process's latest too, the most frequent first."""
        stored = await self._bucket.get(f"words.{instance}")
        words = _known(stored.value if stored is not None else None)
        return _ordered(_together(words, self._fresh.get(instance, {})))

    async def flush(self) -> None:
        """Write the counts that are only here. Raises BusUnavailable; then they stay counted."""
        for instance in list(self._fresh):
            fresh = self._fresh.pop(instance)
            try:
                await self._write(instance, fresh)
            except HubError:
                self._fresh[instance] = _together(fresh, self._fresh.get(instance, {}))
                raise

    async def close(self) -> None:
        """At the end, write the counts."""
        if self._writer is not None:
            self._writer.cancel()
            await asyncio.gather(self._writer, return_exceptions=True)
        try:
            await self.flush()
        except HubError as problem:
            log.warning("words heard not written", reason=problem.message)

    async def _write_later(self) -> None:
        while self._fresh:
            await asyncio.sleep(self._hold)
            try:
                await self.flush()
            except HubError as problem:
                log.warning("words heard wait", reason=problem.message)

    async def _write(self, instance: str, fresh: dict[str, HeardWord]) -> None:
        def counted(stored: bytes | None) -> bytes:
            return msgspec.json.encode(_ordered(_together(_known(stored), fresh)))

        await revise(self._bucket, f"words.{instance}", counted)


def _known(stored: bytes | None) -> dict[str, HeardWord]:
    return {one.word: one for one in (_decode(stored) if stored else [])}


def merged(before: HeardWord, after: HeardWord) -> HeardWord:
    """Both countings of one word, `after` being the later one."""
    about = tuple(dict.fromkeys((*after.about, *before.about)))[:MOST_ABOUT]
    return HeardWord(
        word=before.word,
        count=before.count + after.count,
        first_at=min(before.first_at, after.first_at),
        last_at=max(before.last_at, after.last_at),
        result=after.result,
        about=about,
    )


def _together(before: dict[str, HeardWord], after: dict[str, HeardWord]) -> dict[str, HeardWord]:
    found = dict(before)
    for word, one in after.items():
        if word not in found and len(found) >= MOST_WORDS:
            word, one = OTHERS, msgspec.structs.replace(one, word=OTHERS, result=None)
        found[word] = merged(found[word], one) if word in found else one
    return found


def _ordered(words: dict[str, HeardWord]) -> list[HeardWord]:
    return sorted(words.values(), key=lambda one: (-one.count, one.word))
