"""Rendering a page that a plugin adds to the console: in time and as text, or not at all."""

from __future__ import annotations

from hub.contract import ConsolePage
from hub.errors import AdapterFault, Unavailable
from hub.platform.adapters.calls import Calls, TookTooLong

PAGE_WITHIN = 5.0
"""Seconds a page gets."""
MOST_PAGE = 2_000_000
"""Characters a page may have."""


async def rendered(page: ConsolePage) -> str:
    """A page as HTML. Raises Unavailable when it does not come in time, AdapterFault when it is no text."""
    try:
        body = await Calls(f"page-{page.path}").call("render", _rendering(page), within=PAGE_WITHIN)
    except TookTooLong as problem:
        raise Unavailable(f"the page {page.path} was not there within {PAGE_WITHIN:.0f} s") from problem
    if not isinstance(body, str) or len(body) > MOST_PAGE:
        raise AdapterFault(f"the page {page.path} is no text of at most {MOST_PAGE} characters")
    return body


async def _rendering(page: ConsolePage) -> object:
    return await page.render()
