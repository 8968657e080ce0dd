"""Callbacks: who may say something, how it is read, and that saying it twice does nothing twice."""

import base64
import hashlib
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
import structlog
from hub_webhook import WebhookAdapter, WebhookSettings

from hub import (
    CallbackRejected,
    CallbackRequest,
    Channel,
    Context,
    Crosswalk,
    Feedback,
    FeedbackKind,
    How,
    IncomingCase,
    Position,
)
from hub.contract import WordTable
from hub.platform.adapters.outbound import departmental_client
from hub.testing.kit import MemoryStore
from hub.webhooks import Signer, new_secret

OLD, NEW = new_secret(), new_secret()
KEY = "320113001001001-01jd8x2m9qk3v5wz.a1"
UNMAPPED: list[tuple[str, str, str | None]] = []


@asynccontextmanager
async def reading(statuses: dict[str, FeedbackKind] | None = None, **changes: Any) -> AsyncIterator[WebhookAdapter]:
    """An adapter as the hub starts it; `statuses` is the instance's own crosswalk."""
    given = {"url": "https://hook.example.org/in", "secret": OLD, **changes}
    UNMAPPED.clear()
    crosswalk = Crosswalk(version=1, statuses=statuses or {}).over(WebhookAdapter.manifest.crosswalk)
    words = WordTable(crosswalk, lambda table, word, about: UNMAPPED.append((table, word, about)))
    async with departmental_client("webhook", timeout=1) as http:
        context = Context(
            instance="parks",
            http=http,
            store=MemoryStore(),
            log=structlog.get_logger("parks"),
            callback_url="http://127.0.0.1:9/hooks/parks",
            words=words,
        )
        adapter = WebhookAdapter(WebhookSettings.model_validate(given), context)
        await adapter.start()
        yield adapter


def callback(body: object, *, id: str = "evt-1", secret: str = OLD, at: float | None = None) -> CallbackRequest:
    raw = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
    headers = Signer([secret]).headers(id, raw, now=time.time() if at is None else at)
    return CallbackRequest(method="POST", path="", headers=headers, query={}, body=raw)


async def report(adapter: WebhookAdapter, body: object, **given: Any) -> Feedback:
    (found,) = await adapter.parse_callback(callback(body, **given))
    assert isinstance(found, Feedback)
    return found


async def rejected(adapter: WebhookAdapter, request: CallbackRequest) -> CallbackRejected:
    with pytest.raises(CallbackRejected) as rejection:
        await adapter.parse_callback(request)
    return rejection.value


@pytest.mark.parametrize(
    ("type", "kind"),
    [
        ("assignment.accepted", FeedbackKind.ACCEPTED),
        ("assignment.progressed", FeedbackKind.PROGRESS),
        ("assignment.resolved", FeedbackKind.RESOLVED),
        ("assignment.returned", FeedbackKind.RETURNED),
    ],
)
async def test_default_form_is_read_flat_or_in_the_envelope(type: str, kind: FeedbackKind) -> None:
    said = {"key": KEY, "ticket": "T1", "at": "2026-03-02T10:00:00+08:00", "note": "已到场", "by": "一组"}
    async with reading() as adapter:
        for body in ({"type": type, **said}, {"type": type, "timestamp": "2020-01-01T00:00:00Z", "data": said}):
            found = await report(adapter, body)
            assert (found.id, found.kind, found.key, found.ticket) == ("evt-1", kind, KEY, "T1")
            assert found.at == datetime(2026, 3, 2, 2, 0, tzinfo=UTC)
            assert (found.note, found.by, found.files) == ("已到场", "一组", ())


async def test_same_callback_again_is_the_same_report_again() -> None:
    """The hub takes each id once and answers as before."""
    async with reading() as adapter:
        request = callback({"type": "assignment.accepted", "key": KEY})
        assert await adapter.parse_callback(request) == await adapter.parse_callback(request)


async def test_own_words_are_read_by_configuration() -> None:
    pointers = {"type": ["/zt"], "key": ["/ref/ours"], "ticket": ["/gdh"], "at": ["/sj"], "note": ["/bz"], "id": ["/lsh"]}
    statuses = {"05": FeedbackKind.RESOLVED, "2": FeedbackKind.ACCEPTED}
    async with reading(statuses, callbacks=pointers) as adapter:
        found = await report(adapter, {"zt": "05", "gdh": 4711, "sj": "2026-03-02 10:00:00", "bz": " 完成 ", "lsh": "L-9"})
        assert (found.id, found.kind, found.ticket, found.note) == ("L-9", FeedbackKind.RESOLVED, "4711", "完成")
        assert found.at == datetime(2026, 3, 2, 2, 0, tzinfo=UTC), "without a zone it is the configured one"
        assert (await report(adapter, {"zt": 2, "gdh": "1", "sj": 1_700_000_000})).at == datetime.fromtimestamp(
            1_700_000_000, UTC
        )


async def test_word_nobody_mapped_is_progress_and_a_repair_item() -> None:
    async with reading() as adapter:
        assert (await report(adapter, {"type": "paused", "key": KEY})).kind is FeedbackKind.PROGRESS
    assert UNMAPPED == [("statuses", "paused", KEY)]


@pytest.mark.parametrize("type", ["ping", "test"])
async def test_test_messages_mean_nothing(type: str) -> None:
    async with reading() as adapter:
        assert await adapter.parse_callback(callback({"type": type})) == ()


async def test_both_secrets_are_taken_while_rotating_and_own_ones_for_callbacks() -> None:
    body = {"type": "assignment.accepted", "key": KEY}
    async with reading(secret=NEW, previous_secret=OLD) as adapter:
        for secret in (OLD, NEW):
            assert await report(adapter, body, secret=secret)
    async with reading(callbacks={"secret": NEW}) as adapter:
        assert await report(adapter, body, secret=NEW)
        assert (await rejected(adapter, callback(body, secret=OLD))).status == 401


async def test_forged_stale_and_malformed_signatures_are_401_with_a_reason() -> None:
    body = {"type": "assignment.accepted", "key": KEY}
    genuine = callback(body)
    async with reading() as adapter:
        for request, reason in (
            (callback(body, secret=NEW), "no signature matches"),
            (callback(body, at=time.time() - 301), "too old"),
            (callback(body, at=time.time() + 301), "too far ahead"),
            (CallbackRequest(method="POST", path="", headers={}, query={}, body=genuine.body), "are needed"),
            (
                CallbackRequest(
                    method="POST",
                    path="",
                    headers={**genuine.headers, "webhook-signature": "v1,***"},
                    query={},
                    body=genuine.body,
                ),
                "malformed",
            ),
        ):
            rejection = await rejected(adapter, request)
            assert (rejection.status, reason in rejection.reason) == (401, True), rejection.reason
            assert OLD not in rejection.reason


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"nonsense", "no JSON"),
        (b"[1]", "no JSON object"),
        (b"[" * 100_000, "no JSON"),
        ({"key": KEY}, "nothing at /type"),
        ({"type": "assignment.accepted"}, "neither our key nor your ticket"),
        ({"type": "assignment.returned", "key": KEY}, "a return needs its reason"),
        ({"type": "assignment.accepted", "key": KEY, "at": "yesterday"}, "the time"),
        ({"type": "assignment.accepted", "key": KEY, "at": "9999999999999999"}, "the time"),
        ({"type": "assignment.accepted", "key": KEY, "files": {}}, "files is a list"),
        ({"type": "assignment.accepted", "key": KEY, "files": [{"name": "a"}]}, "needs content"),
        ({"type": "assignment.accepted", "key": KEY, "files": [{"content": "***"}]}, "not base64"),
        ({"type": "assignment.accepted", "key": KEY, "files": [{"content": "QQ==", "sha256": "00"}]}, "sha256"),
        (
            {"type": "assignment.accepted", "key": KEY, "files": [{"url": "https://elsewhere.example.org/a", "sha256": "00"}]},
            "own host",
        ),
    ],
)
async def test_body_that_can_not_be_read_is_400_and_says_what(body: object, reason: str) -> None:
    async with reading() as adapter:
        rejection = await rejected(adapter, callback(body))
        assert (rejection.status, reason in rejection.reason) == (400, True), rejection.reason


async def test_files_come_along_with_their_checksums() -> None:
    content = b"\xff\xd8photo"
    file = {"name": "现场.jpg", "media_type": "image/jpeg", "content": base64.b64encode(content).decode()}
    file["sha256"] = hashlib.sha256(content).hexdigest().upper()
    async with reading() as adapter:
        found = await report(adapter, {"type": "assignment.resolved", "key": KEY, "files": [file]})
    (kept,) = found.files
    assert (kept.name, kept.media_type, kept.content) == ("现场.jpg", "image/jpeg", content)


async def test_cases_come_in_where_the_configuration_opens_them() -> None:
    data = {"ref": "GD-1", "title": "树枝折断", "text": "人行道上", "area": "320113001", "severity": "major", "place": "尧佳路"}
    body = {"type": "case.reported", "timestamp": "2026-03-02T10:00:00Z", "data": data}
    async with reading(callbacks={"cases": ["case.reported"], "channel": "device"}) as adapter:
        (found,) = await adapter.parse_callback(callback(body))
        assert isinstance(found, IncomingCase)
        assert (found.ref, found.channel, found.title, found.area) == ("GD-1", Channel.DEVICE, "树枝折断", "320113001")
        assert found.reported_at == datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
        assert found.position is None
        at = {"longitude": 118.9175, "latitude": 32.1009, "system": "gcj02", "accuracy_m": 10, "how": "device"}
        (placed,) = await adapter.parse_callback(callback({**body, "data": {**data, "position": at}}))
        assert isinstance(placed, IncomingCase)
        assert placed.position == Position(longitude=118.9175, latitude=32.1009, system="gcj02", accuracy_m=10, how=How.DEVICE)
        bad = ({"position": "118.9,32.1"}, {"position": {**at, "system": "GCJ-02"}}, {"position": {**at, "longitude": "118"}})
        for wrong in ({"area": "x"}, {"severity": "huge"}, {"title": "", "text": ""}, *bad):
            assert (await rejected(adapter, callback({**body, "data": {**data, **wrong}}))).status == 400
    async with reading() as adapter:
        assert (await rejected(adapter, callback(body))).status == 400
