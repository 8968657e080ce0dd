"""Slows down whoever tries links: a few wrong ones from one address, then that address has to wait.

Many phones share one address (mobile carriers), so a link that opened from an address before goes on opening while the address waits;
any other link from there isn't even looked at. Kept in memory, bounded. Called by the pages.
"""

from __future__ import annotations

import hashlib
import ipaddress
import math
from collections import OrderedDict, deque
from collections.abc import Callable

import structlog

WRONG = 10
"""Wrong links of one address before it waits. A link cut off in a chat is tried a few times by honest people."""
WITHIN = 300.0
"""Seconds in which they count, and so the longest wait."""
_ADDRESSES = 10_000
_KNOWN = 50_000

log = structlog.get_logger("hub_page.desk")


class TooManyGuesses(Exception):
    """The address has tried too many wrong links; `retry_after` in seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"again in {retry_after} s")
        self.retry_after = retry_after


class Guesses:
    """Counts wrong links by address; `clock` gives seconds. The address is that of the connection, or what a trusted proxy says."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._wrong: OrderedDict[str, deque[float]] = OrderedDict()
        self._known: OrderedDict[tuple[str, bytes], None] = OrderedDict()

    def check(self, address: str, token: str) -> None:
        """Whether a link from this address may be looked at; raises TooManyGuesses."""
        network = _network(address)
        tries = self._wrong.get(network)
        if tries is None or (network, _digest(token)) in self._known:
            return
        now = self._clock()
        while tries and tries[0] <= now - WITHIN:
            tries.popleft()
        if len(tries) >= WRONG:
            raise TooManyGuesses(max(1, math.ceil(tries[0] + WITHIN - now)))

    def wrong(self, address: str) -> None:
        """A link from this address opened nothing."""
        network = _network(address)
        tries = self._wrong.setdefault(network, deque(maxlen=WRONG))
        tries.append(self._clock())
        self._wrong.move_to_end(network)
        if len(tries) == WRONG:
            log.warning("many wrong links from one address", address=network)
        while len(self._wrong) > _ADDRESSES:
            self._wrong.popitem(last=False)

    def right(self, address: str, token: str) -> None:
        """A link from this address opened its page."""
        entry = (_network(address), _digest(token))
        self._known[entry] = None
        self._known.move_to_end(entry)
        while len(self._known) > _KNOWN:
            self._known.popitem(last=False)


def _network(address: str) -> str:
    """What counts as one address: an IPv4 address, the /64 an IPv6 customer has at least."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()[:16]
