"""Routes of the pages that plugins add to the console: their list, and each one's HTML.

A page is the plugin's. It is rendered within a few seconds or not at all. Its policy runs no script and loads nothing from elsewhere.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path
from starlette.responses import HTMLResponse, Response

from hub.contract import ConsolePage
from hub.errors import NotAllowed
from hub.platform.adapters.pages import rendered
from hub.surfaces.api.answers import Answered, answer
from hub.surfaces.api.models import Answer
from hub.surfaces.api.openapi import refuses
from hub.surfaces.api.people.auth import CallerHere, ServicesHere


class PageAnswer(Answer, frozen=True, kw_only=True):
    """A page a plugin adds to the console."""

    path: str
    title: str


class PageList(Answer, frozen=True, kw_only=True):
    """The pages of plugins."""

    items: list[PageAnswer]


router = APIRouter(prefix="/pages", tags=["pages"])

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'; sandbox",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
PagePath = Annotated[str, Path(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=64)]


@router.get("", summary="Pages of plugins")
async def pages(services: ServicesHere, caller: CallerHere) -> Answered[PageList]:
    """The pages the caller's role may open."""
    role = caller.token.role.value
    found = [PageAnswer(path=page.path, title=page.title) for page in _pages(services) if role in page.roles]
    return answer(PageList(items=found))


@router.get("/{path}", summary="One page", responses=refuses(503) | {200: {"content": {"text/html": {}}}})
async def page(services: ServicesHere, caller: CallerHere, path: PagePath) -> Response:
    """HTML without scripts. 503 when the plugin does not give it in time."""
    for one in _pages(services):
        if one.path == path and caller.token.role.value in one.roles:
            return HTMLResponse(await rendered(one), headers=_HEADERS)
    raise NotAllowed("no such page", subject=path)


def _pages(services: ServicesHere) -> tuple[ConsolePage, ...]:
    return services.instances.roster.plugins.pages if services.instances is not None else ()
