"""One connection to NATS: publishes that are confirmed, reads by subject and sequence, following a stream.

Refuses to lie about durability: `publish` returns only after the stream's acknowledgement; without one it raises
BusUnavailable and the caller has to find out what happened.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import secrets
import ssl
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec
import nats
import nats.errors
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext

from hub.bus.cancellation import raise_if_cancelled
from hub.errors import BusUnavailable, HubError, LedgerConflict

WRONG_LAST_SEQUENCE = (10071, 10164)
"""JetStream error codes for an expected sequence that does not match."""

log = structlog.get_logger("hub.bus")


CONNECT_WITHIN = 10.0
"""Seconds for the first connection."""


class PubAck(msgspec.Struct):
    """What a stream answers to a publish."""

    seq: int = 0
    error: dict[str, Any] | None = None


_decode_ack = msgspec.json.Decoder(PubAck).decode


_RELOADS_WITHIN = 2.0
"""Seconds in which a server is back after it read its configuration anew (a credential was issued). Nothing was done meanwhile."""


class _Client(Client):
    """nats-py's client with a plain header parser: the library's looks at every character of every name, an eighth of the hub's time."""

    @staticmethod
    def _parse_header_lines(raw: bytes) -> dict[str, str]:
        found = {}
        for line in raw.decode("utf-8", "replace").split("\r\n"):
            name, colon, value = line.partition(":")
            if colon:
                found[name] = value.strip()
        return found

    async def send_raw(self, commands: bytes) -> None:
        """Write complete protocol commands."""
        await self._send_command(commands)
        await self._flush_pending()


class WrongSequence(LedgerConflict):
    """The subject's last sequence is not the expected one."""

    code = "wrong_sequence"


@dataclass(frozen=True, slots=True)
class Message:
    """A stored message."""

    subject: str
    data: bytes
    sequence: int
    headers: dict[str, str] = field(default_factory=dict)


class Bus:
    """A connection and its JetStream context. `lost` is called once when the bus says something that can't be gone on from."""

    def __init__(self, nc: _Client, *, publish_timeout: float = 10.0) -> None:
        self.nc: _Client = nc
        self.js: JetStreamContext = nc.jetstream(timeout=publish_timeout)
        self._timeout = publish_timeout
        self._inbox = nc.new_inbox()
        self._tokens = itertools.count()
        self._waiting: dict[str, tuple[asyncio.Future[bytes], float]] = {}
        self._clock: asyncio.Task[None] | None = None
        self.run = secrets.token_hex(8)
        """Which run of a hub this is; leases carry it."""
        self.former = ""
        """The run before it in the same place, which is over for certain: its leases are taken over at once."""
        self.closing = False
        self._reconnected: list[Callable[[], None]] = []

    @classmethod
    async def connect(
        cls,
        url: str,
        *,
        credentials: str | None = None,
        seed: str | None = None,
        inbox: str | None = None,
        tls: ssl.SSLContext | None = None,
        name: str = "hub",
        fatal: Callable[[str], None] | None = None,
        publish_timeout: float = 10.0,
    ) -> Bus:
        """Connect; reconnects for ever. `fatal` hears of permission denials, which no retry can cure. `seed`: NKey of the user;
        `inbox`: prefix of its reply subjects; `tls`: whom to trust, else the system's authorities when the server asks for TLS.

        Raises BusUnavailable when the first connection can't be made within 10 s.
        """
        holder: list[Bus] = []
        said: set[str] = set()  # while it is away it says the same five times a second

        async def reconnected() -> None:
            said.clear()
            log.warning("bus reconnected", url=_bare(url))
            for bus in holder:
                for callback in bus._reconnected:
                    callback()

        async def disconnected() -> None:
            if not any(bus.closing for bus in holder):
                log.warning("bus disconnected", url=_bare(url))

        async def error(exception: Exception) -> None:
            text = str(exception)
            if "permissions violation" in text.lower():
                log.error("bus permission denied", error=text)
                if fatal is not None:
                    fatal(text)
            elif text not in said:
                said.add(text)
                log.warning("bus error", error=text or type(exception).__name__)

        options: dict[str, Any] = {}
        if credentials is not None:
            options["user_credentials"] = credentials
        if seed is not None:
            options["nkeys_seed_str"] = seed
        if inbox is not None:
            options["inbox_prefix"] = inbox
        if tls is not None:
            options["tls"] = tls
        try:
            nc = _Client()
            await _tried(
                nc.connect(
                    url,
                    name=name,
                    max_reconnect_attempts=-1,
                    reconnect_time_wait=0.2,  # type: ignore[arg-type]  # seconds; the library only says int
                    ping_interval=5,
                    max_outstanding_pings=2,
                    pending_size=64 * 1024 * 1024,
                    reconnected_cb=reconnected,
                    disconnected_cb=disconnected,
                    error_cb=error,
                    **options,
                )
            )
        except (TimeoutError, OSError, nats.errors.Error) as problem:
            raise BusUnavailable(f"can't connect to NATS at {_bare(url)}: {problem or 'no answer'}") from problem
        bus = cls(nc, publish_timeout=publish_timeout)
        await nc.subscribe(f"{bus._inbox}.*", cb=bus._acknowledged, pending_msgs_limit=-1, pending_bytes_limit=-1)
        bus._clock = asyncio.create_task(bus._watch(), name="bus time-outs")
        holder.append(bus)
        return bus

    @property
    def connected(self) -> bool:
        """Whether the connection is up right now."""
        return bool(self.nc.is_connected)

    def on_reconnect(self, callback: Callable[[], None]) -> None:
        """Call `callback` after every reconnect."""
        self._reconnected.append(callback)

    async def close(self) -> None:
        """Flush and close."""
        self.closing = True
        if self._clock is not None:
            self._clock.cancel()
        if self.nc.is_closed:
            return
        try:
            await asyncio.wait_for(self.nc.drain(), timeout=5)
        except (TimeoutError, nats.errors.Error) as problem:
            log.warning("bus did not drain", error=str(problem))
            await self.nc.close()

    async def publish(
        self,
        subject: str,
        data: bytes,
        *,
        headers: dict[str, str] | None = None,
        expect: int | None = None,
        message_id: str | None = None,
    ) -> int:
        """Store a message; returns its stream sequence once the server has acknowledged it.

        `expect`: the last sequence of this subject (0: none), else WrongSequence. `message_id`: duplicates within the stream's
        window are stored once. Raises BusUnavailable when no acknowledgement came (it may be stored all the same).
        """
        if expect is not None or message_id is not None:
            headers = dict(headers or {})
            if expect is not None:
                headers["Nats-Expected-Last-Subject-Sequence"] = str(expect)
            if message_id is not None:
                headers["Nats-Msg-Id"] = message_id
        reply = f"{self._inbox}.{next(self._tokens)}"
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[bytes] = loop.create_future()
        self._waiting[reply] = (answer, loop.time() + self._timeout)
        try:
            await self.nc.publish(subject, data, reply=reply, headers=headers)
            raw = await answer
        except (TimeoutError, nats.errors.Error, ConnectionError) as problem:
            raise BusUnavailable(f"no acknowledgement for {subject}", subject=subject) from problem
        finally:
            self._waiting.pop(reply, None)
        acknowledged = _decode_ack(raw) if raw else PubAck(error={"description": "no stream takes this subject"})
        if acknowledged.error is not None:
            if acknowledged.error.get("err_code") in WRONG_LAST_SEQUENCE:
                raise WrongSequence(f"another message came first on {subject}", subject=subject)
            raise BusUnavailable(f"the bus refused {subject}: {acknowledged.error.get('description')}", subject=subject)
        return acknowledged.seq

    async def send_all(self, messages: Iterable[tuple[str, bytes]]) -> None:
        """Send many small messages in one write, unconfirmed (acknowledgements); raises BusUnavailable when not connected."""
        if not self.nc.is_connected:
            raise BusUnavailable("not connected to the bus")
        await self.nc.send_raw(b"".join(b"PUB %b %d\r\n%b\r\n" % (s.encode(), len(d), d) for s, d in messages))

    async def _acknowledged(self, message: Msg) -> None:
        """An answer to `publish`; nats-py's own asynchronous publishing loses the errors (2.16), so it is matched here."""
        waiting = self._waiting.get(message.subject)
        if waiting is not None and not waiting[0].done():
            waiting[0].set_result(message.data)

    async def _watch(self) -> None:
        """Time-outs of `publish`, looked at together: a timer for each would cost as much as the publish."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(0.25)
            now = loop.time()
            for answer, until in list(self._waiting.values()):
                if until < now and not answer.done():
                    answer.set_exception(TimeoutError())

    async def last(self, stream: str, subject: str) -> Message | None:
        """The last message of a subject (wildcards allowed), or None."""
        reply = await self._request(f"$JS.API.DIRECT.GET.{stream}", json.dumps({"last_by_subj": subject}).encode())
        return _stored(reply)

    async def at(self, stream: str, sequence: int) -> Message | None:
        """The message at a stream sequence, or None."""
        reply = await self._request(f"$JS.API.DIRECT.GET.{stream}", json.dumps({"seq": sequence}).encode())
        return _stored(reply)

    async def all_of(self, stream: str, subject: str, *, until: int | None = None) -> list[Message]:
        """All messages of a subject in order (up to sequence `until`), by batched direct gets."""
        found: list[Message] = []
        start = 1
        while True:
            inbox = self.nc.new_inbox()
            subscription = await self.nc.subscribe(inbox)
            try:
                request = {"seq": start, "next_by_subj": subject, "batch": 256}
                await self.nc.publish(f"$JS.API.DIRECT.GET.{stream}", json.dumps(request).encode(), reply=inbox)
                more = False
                while True:
                    reply = await subscription.next_msg(timeout=self._timeout)
                    message = _stored(reply)
                    if message is None:
                        headers = reply.headers or {}
                        more = headers.get("Status") == "204" and int(headers.get("Nats-Num-Pending", "0")) > 0
                        break
                    if until is not None and message.sequence > until:
                        break
                    found.append(message)
            except (TimeoutError, nats.errors.Error) as problem:
                raise BusUnavailable(f"no answer reading {subject}", subject=subject) from problem
            finally:
                await subscription.unsubscribe()
            if not more or not found:
                return found
            start = found[-1].sequence + 1

    async def follow(
        self, stream: str, subject: str, after: int, *, batch: int = 512, live: bool = True
    ) -> AsyncIterator[list[Message]]:
        """Yield lists of messages in stream order after sequence `after`; for ever, or to the present end when not `live`.

        Survives reconnects and lost consumers: it goes on where it was, without gaps or repeats.
        """
        position = after
        while True:
            raise_if_cancelled()
            inbox = self.nc.new_inbox()
            queue: asyncio.Queue[Msg] = asyncio.Queue()
            subscription = await self.nc.subscribe(inbox, cb=queue.put, pending_msgs_limit=-1, pending_bytes_limit=-1)
            name: str | None = None
            try:
                name, pending = await self._ephemeral(stream, subject, position)
                end = pending == 0
                if not live and end:
                    return
                async for messages in self._pulled(stream, name, inbox, queue, batch):
                    fresh = [m for m in messages if m.sequence > position]
                    if fresh:
                        position = fresh[-1].sequence
                        pending -= len(fresh)
                        yield fresh
                    if not live and pending <= 0:
                        return
            except BusUnavailable as problem:
                if not live:
                    raise
                log.warning("following again", stream=stream, after=position, reason=problem.message)
                await asyncio.sleep(0.5)
            finally:
                await self._forget(stream, name, subscription)

    async def _forget(self, stream: str, name: str | None, subscription: Any) -> None:
        if self.nc.is_closed:
            return
        try:
            await subscription.unsubscribe()
            if name is not None and self.nc.is_connected:
                await self.nc.publish(f"$JS.API.CONSUMER.DELETE.{stream}.{name}", b"")
        except nats.errors.Error as problem:
            log.debug("consumer not deleted", stream=stream, error=str(problem))

    async def _ephemeral(self, stream: str, subject: str, after: int) -> tuple[str, int]:
        """Create an unacknowledged consumer behind `after`; returns its name and how many messages wait."""
        config = {
            "stream_name": stream,
            "config": {
                "ack_policy": "none",
                "deliver_policy": "by_start_sequence",
                "opt_start_seq": after + 1,
                "filter_subject": subject,
                "inactive_threshold": 30_000_000_000,
                "mem_storage": True,
                "num_replicas": 1,
            },
        }
        answer = await self.api(f"CONSUMER.CREATE.{stream}", config)
        return answer["name"], int(answer["num_pending"])

    async def _pulled(
        self, stream: str, name: str, inbox: str, queue: asyncio.Queue[Msg], batch: int
    ) -> AsyncIterator[list[Message]]:
        """Keep a pull request open and yield what arrives, several at a time; raises BusUnavailable when it falls silent."""
        request = json.dumps({"batch": batch, "expires": 2_000_000_000}).encode()
        while True:
            left = batch
            await self.nc.publish(f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{name}", request, reply=inbox)
            while left > 0:
                raise_if_cancelled()
                try:
                    async with asyncio.timeout(4):
                        first = await queue.get()
                except TimeoutError as problem:
                    raise BusUnavailable(f"consumer of {stream} is silent") from problem
                arrived = [first]
                while not queue.empty():
                    arrived.append(queue.get_nowait())
                messages = [_delivered(m) for m in arrived if not _status(m)]
                left -= len(messages)
                if messages:
                    yield messages
                ended = next((s for m in arrived if (s := _status(m))), None)
                if ended in ("404", "408"):
                    break
                if ended is not None and ended != "100":
                    raise BusUnavailable(f"consumer of {stream} ended: {ended}")

    async def api(self, call: str, request: dict[str, Any] | None = None) -> dict[str, Any]:
        """One JetStream API call; raises HubError with the server's own words."""
        reply = await self._request(f"$JS.API.{call}", json.dumps(request).encode() if request is not None else b"")
        answer: dict[str, Any] = json.loads(reply.data)
        if "error" in answer:
            problem = answer["error"]
            raise JetStreamRefused(f"{call}: {problem.get('description')}", status=int(problem.get("code", 0)))
        return answer

    async def _request(self, subject: str, data: bytes) -> Msg:
        try:
            give_up = time.monotonic() + _RELOADS_WITHIN
            while True:
                try:
                    return await self.nc.request(subject, data, timeout=self._timeout)
                except nats.errors.NoRespondersError:
                    if time.monotonic() > give_up:
                        raise
                await asyncio.sleep(0.05)
        except (TimeoutError, nats.errors.Error, ConnectionError) as problem:
            raise BusUnavailable(f"no answer from the bus for {subject}", subject=subject) from problem


class JetStreamRefused(HubError):
    """The server refused an API call; `status` is its HTTP-like code."""

    code = "jetstream_refused"

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


def _bare(url: str) -> str:
    """The URL without user and password."""
    return url.rsplit("@", 1)[-1]


def _status(message: Msg) -> str | None:
    """The status code of a control message, None for a real one."""
    if message.data or not message.headers:
        return None
    return message.headers.get("Status")


def _delivered(message: Msg) -> Message:
    """A consumer's message; the reply subject carries the sequence: $JS.ACK.[<domain>.<account>.]stream.consumer.n.seq.…"""
    parts = message.reply.split(".")
    sequence = int(parts[5] if len(parts) == 9 else parts[7])
    return Message(message.subject, message.data, sequence, message.headers or {})


def _stored(reply: Msg) -> Message | None:
    """A direct-get answer; None for not found or end of batch. Raises BusUnavailable for any other: nothing read is not nothing there."""
    headers = reply.headers or {}
    if "Nats-Sequence" not in headers:
        if headers.get("Status") in ("404", "204"):
            return None
        raise BusUnavailable(f"not read: {headers.get('Status')} {headers.get('Description', '')}".rstrip())
    return Message(headers["Nats-Subject"], reply.data, int(headers["Nats-Sequence"]), headers)


async def _tried(connecting: Coroutine[Any, Any, None]) -> None:
    """Wait for a first connection; raises TimeoutError after CONNECT_WITHIN, and what the library raises.

    The library may swallow a cancellation (see hub/bus/cancellation.py) and would go on trying for ever: it is cancelled until it ends.
    """
    attempt = asyncio.create_task(connecting, name="connect to the bus")
    try:
        await asyncio.wait((attempt,), timeout=CONNECT_WITHIN)
        while not attempt.done():
            attempt.cancel()
            await asyncio.wait((attempt,), timeout=0.2)
    except asyncio.CancelledError:
        attempt.cancel()
        raise
    if attempt.cancelled():
        raise TimeoutError
    attempt.result()
