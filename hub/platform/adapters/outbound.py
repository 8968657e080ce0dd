"""The HTTP client an adapter gets: traced, bounded, and speaking the hub's delivery errors instead of httpx's.

Owns the mapping from what the transport says to what dispatch does:

======================================================  ==========================  =====================
what happened                                            GET, HEAD, OPTIONS          other methods
======================================================  ==========================  =====================
no connection, no free connection, proxy unreachable     Unavailable                 Unavailable
time-out or loss of the connection after sending         Unavailable                 OutcomeUnknown
429, 503 (Retry-After honoured), other 5xx               Unavailable                 Unavailable
504                                                      Unavailable                 OutcomeUnknown
401, 403                                                 CredentialsRejected         CredentialsRejected
an answer above 5 MiB, or compressed unasked             AdapterFault                OutcomeUnknown
our own rate limit leaves no turn in the attempt's time  Unavailable                 Unavailable
the request itself can't be sent (bad URL)               AdapterFault                AdapterFault
======================================================  ==========================  =====================

Every other status comes back as a response; redirects are not followed. Spans carry method, host, port, path and status:
never the query, headers or bodies. With a rate, requests go out in turn and never faster; one whose turn would come too late
is Unavailable. Whoever builds a plugin makes one client per adapter instance; a trial gives a recorder along.
"""

from __future__ import annotations

import asyncio
import functools
import ssl
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import NoReturn

import httpx

from hub.contract import PASS_STATUSES
from hub.errors import AdapterFault, CredentialsRejected, DeliveryError, OutcomeUnknown, Unavailable
from hub.observing import telemetry

MAX_ANSWER = 5 * 1024 * 1024
"""Most bytes of an answer that are read."""
MAX_RETRY_AFTER = timedelta(days=1)
"""A department that asks for more is asked again after this."""

_CONNECTIONS = httpx.Limits(max_connections=32, max_keepalive_connections=16, keepalive_expiry=20)
_CONNECT_WITHIN = 5.0
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """One request and what came back, as it went over the wire: secrets and all. Only a trial keeps these, and blots them."""

    at: datetime
    """When it was sent, UTC."""
    seconds: float
    """From sending to the end of the answer."""
    waited: float
    """Seconds it waited for its turn before that."""
    method: str
    url: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    status: int | None
    """None: no answer came."""
    answer_headers: tuple[tuple[str, str], ...] = ()
    answer: bytes | None = None
    """None: not read, or not to its end."""
    error: DeliveryError | None = None
    """What the client made of it, if it raised."""


Record = Callable[[Exchange], None]
"""Told of every exchange once it is over."""


def departmental_client(
    instance: str,
    *,
    timeout: float,
    rate: float | None = None,
    record: Record | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
) -> httpx.AsyncClient:
    """Make the client of one adapter instance; the caller closes it.

    `timeout` in seconds bounds sending and each wait for the answer (connecting at most 5 s).
    `rate`: most requests a second; a request waits for its turn for up to half of `timeout`. `record` hears of every exchange.
    `transport` replaces the network in tests.
    A request may carry `extensions={PASS_STATUSES: {500}}`.
    """
    inner = transport or httpx.AsyncHTTPTransport(verify=_trusted(), limits=_CONNECTIONS, trust_env=False)
    pace = Pace(rate, most_wait=timeout / 2) if rate is not None else None
    return httpx.AsyncClient(
        transport=DepartmentalTransport(instance, inner, pace=pace, record=record),
        timeout=httpx.Timeout(timeout, connect=min(timeout, _CONNECT_WITHIN)),
        headers={"accept-encoding": "identity", "user-agent": "city-hub"},
        follow_redirects=False,
        trust_env=False,
    )


@functools.cache
def _trusted() -> ssl.SSLContext:
    """The certificate authorities, read once. Reading takes 25 ms, and adding an instance must not hold the others up so long."""
    return httpx.create_ssl_context(trust_env=False)


class Pace:
    """Whose turn it is: at most `per_second` requests a second, at most one second's worth at once, first come first served."""

    def __init__(self, per_second: float, *, most_wait: float, clock: Callable[[], float] = time.monotonic) -> None:
        if per_second <= 0:
            raise ValueError("a rate is above 0")
        self._per_second = per_second
        self._burst = max(1.0, per_second)
        self._most_wait = most_wait
        self._clock = clock
        self._left = self._burst
        self._at = clock()

    def turn(self) -> tuple[float, bool]:
        """Seconds until the next turn, and whether it was taken. A turn further off than `most_wait` is not taken.

        A taken turn is used up, even when its request is given up while it waits.
        """
        now = self._clock()
        self._left = min(self._burst, self._left + (now - self._at) * self._per_second)
        self._at = now
        wait = max(0.0, (1.0 - self._left) / self._per_second)
        if wait > self._most_wait:
            return wait, False
        self._left -= 1.0
        return wait, True


class DepartmentalTransport(httpx.AsyncBaseTransport):
    """Adds span, traceparent, rate, size limit and error mapping to a transport."""

    def __init__(
        self,
        instance: str,
        inner: httpx.AsyncBaseTransport,
        *,
        pace: Pace | None = None,
        record: Record | None = None,
    ) -> None:
        self._instance = instance
        self._inner = inner
        self._pace = pace
        self._record = record

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request and read its answer wholly; raises the delivery errors of the table above."""
        attributes: dict[str, str | int] = {
            telemetry.HTTP_METHOD: request.method,
            telemetry.SERVER_ADDRESS: request.url.host,
            "url.path": request.url.path,
            telemetry.ADAPTER: self._instance,
        }
        if request.url.port is not None:
            attributes[telemetry.SERVER_PORT] = request.url.port
        with telemetry.span(request.method, kind="client", attributes=attributes) as span:
            if span.traceparent:
                request.headers["traceparent"] = span.traceparent
            try:
                waited = await self._turn() if self._pace is not None else 0.0
                if self._record is None:
                    response = await self._answer(request)
                    span.set(telemetry.HTTP_STATUS, response.status_code)
                    self._check_status(request, response)
                else:
                    response = await self._recorded(request, span, self._record, waited)
            except DeliveryError as error:
                span.fail(error.code)
                raise
            return response

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()

    async def _turn(self) -> float:
        """Wait for this request's turn; seconds it took. Raises Unavailable when the turn is too far off."""
        assert self._pace is not None
        wait, taken = self._pace.turn()
        if not taken:
            raise Unavailable(
                f"too many requests to {self._instance} wait for their turn",
                retry_after=timedelta(seconds=wait),
                subject=self._instance,
            )
        if wait > 0:
            await asyncio.sleep(wait)
        return wait

    async def _recorded(
        self, request: httpx.Request, span: telemetry.ActiveSpan, record: Record, waited: float
    ) -> httpx.Response:
        """The same, recorded; a request given up half-way is recorded as well."""
        body = await request.aread()
        at, began = datetime.now(UTC), time.monotonic()
        problem: DeliveryError | None = None
        answered: list[httpx.Response] = []
        answer: bytes | None = None
        try:
            response = await self._answer(request, answered)
            answer = response.content
            span.set(telemetry.HTTP_STATUS, response.status_code)
            self._check_status(request, response)
            return response
        except DeliveryError as error:
            problem = error
            raise
        finally:
            record(
                Exchange(
                    at=at,
                    seconds=time.monotonic() - began,
                    waited=waited,
                    method=request.method,
                    url=str(request.url),
                    headers=tuple(request.headers.items()),
                    body=body,
                    status=answered[0].status_code if answered else None,
                    answer_headers=tuple(answered[0].headers.items()) if answered else (),
                    answer=answer,
                    error=problem,
                )
            )

    async def _answer(self, request: httpx.Request, answered: list[httpx.Response] | None = None) -> httpx.Response:
        """The answer with its body read; `answered` gets it as soon as it begins."""
        try:
            response = await self._inner.handle_async_request(request)
            if answered is not None:
                answered.append(response)
            try:
                body = await self._body(request, response)
            finally:
                await response.aclose()
        except httpx.TransportError as error:
            self._raise_for(error, request)
        return httpx.Response(
            response.status_code, headers=response.headers, content=body, request=request, extensions=response.extensions
        )

    async def _body(self, request: httpx.Request, response: httpx.Response) -> bytes:
        if response.headers.get("content-encoding", "identity").lower() not in ("", "identity"):
            self._unreadable(request, "a compressed answer nobody asked for")
        chunks: list[bytes] = []
        size = 0
        if not isinstance(response.stream, httpx.AsyncByteStream):
            raise AdapterFault(f"the transport of {self._instance} is not asynchronous", subject=self._instance)
        async for chunk in response.stream:
            size += len(chunk)
            if size > MAX_ANSWER:
                self._unreadable(request, f"an answer above {MAX_ANSWER} bytes")
            chunks.append(chunk)
        return b"".join(chunks)

    def _unreadable(self, request: httpx.Request, what: str) -> NoReturn:
        if request.method in _SAFE:
            raise AdapterFault(f"{self._instance} sent {what}", subject=self._instance)
        raise OutcomeUnknown(f"{self._instance} sent {what}", subject=self._instance)

    def _raise_for(self, error: httpx.TransportError, request: httpx.Request) -> NoReturn:
        """Map what httpx's transport raises."""
        what = type(error).__name__
        match error:
            case httpx.ConnectError() | httpx.ConnectTimeout() | httpx.PoolTimeout() | httpx.ProxyError():
                raise Unavailable(f"{self._instance} can't be reached ({what})", subject=self._instance) from error
            case httpx.UnsupportedProtocol() | httpx.LocalProtocolError():
                raise AdapterFault(f"the request to {self._instance} can't be sent ({what})", subject=self._instance) from error
            case _ if request.method in _SAFE:
                raise Unavailable(f"{self._instance} did not answer ({what})", subject=self._instance) from error
            case _:
                raise OutcomeUnknown(
                    f"{self._instance} did not answer after the request was sent ({what})", subject=self._instance
                ) from error

    def _check_status(self, request: httpx.Request, response: httpx.Response) -> None:
        """Raise for the statuses that are not answers."""
        status = response.status_code
        passed: Collection[int] = request.extensions.get(PASS_STATUSES, ())
        problem = None if status in passed else self._problem(request, response)
        if problem is not None:
            problem.status = status
            raise problem

    def _problem(self, request: httpx.Request, response: httpx.Response) -> DeliveryError | None:
        status = response.status_code
        if status in (401, 403):
            return CredentialsRejected(f"{self._instance} rejects our credentials ({status})", subject=self._instance)
        if status == 504 and request.method not in _SAFE:
            return OutcomeUnknown(f"{self._instance} answered {status}", subject=self._instance)
        if status == 429 or status >= 500:
            retry_after = parse_retry_after(response.headers.get("retry-after"), now=datetime.now(UTC))
            return Unavailable(f"{self._instance} answered {status}", retry_after=retry_after, subject=self._instance)
        return None


def parse_retry_after(value: str | None, *, now: datetime) -> timedelta | None:
    """Read a Retry-After header (RFC 9110, 10.2.3: seconds or a date); None when absent or unreadable, never negative."""
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return min(timedelta(seconds=min(int(text[:12]), 10**9)), MAX_RETRY_AFTER)
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return min(max(at - now, timedelta(0)), MAX_RETRY_AFTER)
