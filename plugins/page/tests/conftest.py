"""A desk inside the test run: its application without a socket, a clock that stands where the test puts it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest
from hub_page.desk.app import create_desk, links_of
from hub_page.desk.store import DeskStore
from hub_page.messages import NewOrder, Team
from hub_page.people import forms_of

SECRET = "desk-test-secret"
TEAM = Team(id="jinyao", name="金尧花园物业服务处")
BODY: dict[str, Any] = {
    "team": TEAM.model_dump(),
    "case": "320113001001001-0123456789abcdef",
    "title": "下水道堵塞",
    "text": "污水外溢",
    "reported_at": "2024-05-06T20:00:00+08:00",
    "accept_by": "2024-05-06T22:00:00+08:00",
    "finish_by": "2024-05-07T20:00:00+08:00",
}
KEY = "320113001001001-0123456789abcdef.a1"
PNG = (
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0\x1f\x15\xc4\x89"
    b"\0\0\0\rIDATx\x9cc\xf8\xcf\xc0\xf0\x1f\0\x05\0\x01\xff\x89\x99=\x1d\0\0\0\0IEND\xaeB`\x82"
)


@dataclass
class Clock:
    """Unix seconds, by hand."""

    now: float = 1_715_000_400.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Desk:
    """The desk and two who use it: the hub (`api`) and a person (`page`)."""

    store: DeskStore
    http: httpx.AsyncClient
    clock: Clock
    key: str = KEY
    body: Mapping[str, Any] = field(default_factory=lambda: dict(BODY))
    png: bytes = PNG

    def link(self, team: str = TEAM.id) -> str:
        found = self.store.team(team)
        assert found is not None
        return links_of(self.store).path(team, found[1])

    def put_order(self, key: str = KEY, **changes: Any) -> str:
        order = NewOrder.model_validate({**BODY, **changes})
        return self.store.file(key, order, trace=None)[0].ticket

    async def api(
        self, method: str, path: str, body: object = None, *, secret: str = SECRET, headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        sent = {"authorization": f"Bearer {secret}", **(headers or {})}
        return await self.http.request(method, f"/api/v1{path}", json=body, headers=sent)

    async def page(self, ticket: str) -> httpx.Response:
        return await self.http.get(f"{self.link()}/orders/{ticket}")

    async def press(self, shown: httpx.Response, button: str, **typed: Any) -> httpx.Response:
        """Send the form of a page whose action ends with `button`."""
        form = next(form for form in forms_of(shown.text) if form.action.endswith(button))
        photo = typed.pop("photo", None)
        files = {"photo": ("../../evil.php", photo, "image/gif")} if photo is not None else None
        return await self.http.post(form.action, data={**form.hidden, **typed}, files=files)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    clock = Clock()
    store = DeskStore(tmp_path / "desk", clock=clock)
    app = create_desk(store, secrets=[SECRET], zone=ZoneInfo("Asia/Shanghai"))
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://desk", follow_redirects=False) as http:
        yield Desk(store, http, clock)
    store.close()
