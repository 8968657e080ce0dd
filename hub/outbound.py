"""The HTTP client an adapter gets: traced, bounded, and speaking the hub's delivery errors instead of httpx's.

Owns the mapping from what the transport says to what dispatch does (docs/design/spine.md, "Plugin boundary"):

====================================================  ==========================  =====================
what happened                                          GET, HEAD, OPTIONS          other methods
====================================================  ==========================  =====================
no connection, no free connection, proxy unreachable   Unavailable                 Unavailable
time-out or loss of the connection after sending       Unavailable                 OutcomeUnknown
429, 503 (Retry-After honoured), other 5xx             Unavailable                 Unavailable
504                                                    Unavailable                 OutcomeUnknown
401, 403                                               CredentialsRejected         CredentialsRejected
an answer above 5 MiB, or compressed unasked           AdapterFault                OutcomeUnknown
the request itself can't be sent (bad URL)             AdapterFault                AdapterFault
====================================================  ==========================  =====================

Every other status comes back as a response; redirects are not followed. Spans carry method, host, port, path and status:
never the query, headers or bodies. The composition root makes one client per adapter instance.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import NoReturn

import httpx

from hub import telemetry
from hub.contract import PASS_STATUSES
from hub.errors import AdapterFault, CredentialsRejected, DeliveryError, OutcomeUnknown, Unavailable

MAX_ANSWER = 5 * 1024 * 1024
"""Most bytes of an answer that are read."""
MAX_RETRY_AFTER = timedelta(days=1)
"""A department that asks for more is asked again after this."""

_CONNECTIONS = httpx.Limits(max_connections=32, max_keepalive_connections=16, keepalive_expiry=20)
_CONNECT_WITHIN = 5.0
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


def departmental_client(
    instance: str, *, timeout: float, transport: httpx.AsyncBaseTransport | None = None
) -> httpx.AsyncClient:
    """Make the client of one adapter instance; the caller closes it.

    `timeout` in seconds bounds sending and each wait for the answer (connecting at most 5 s).
    `transport` replaces the network in tests.
    A request may carry `extensions={PASS_STATUSES: {500}}`.
    """
    inner = transport or httpx.AsyncHTTPTransport(limits=_CONNECTIONS, trust_env=False)
    return httpx.AsyncClient(
        transport=DepartmentalTransport(instance, inner),
        timeout=httpx.Timeout(timeout, connect=min(timeout, _CONNECT_WITHIN)),
        headers={"accept-encoding": "identity", "user-agent": "city-hub"},
        follow_redirects=False,
        trust_env=False,
    )


class DepartmentalTransport(httpx.AsyncBaseTransport):
    """Adds span, traceparent, size limit and error mapping to a transport."""

    def __init__(self, instance: str, inner: httpx.AsyncBaseTransport) -> None:
        self._instance = instance
        self._inner = inner

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
                response = await self._answer(request)
                span.set(telemetry.HTTP_STATUS, response.status_code)
                self._check_status(request, response)
            except DeliveryError as error:
                span.fail(error.code)
                raise
            return response

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        try:
            response = await self._inner.handle_async_request(request)
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
