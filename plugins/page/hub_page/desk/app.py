"""Puts the desk together: interface, pages, guard.

Called by the command line and by the simulator.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from datetime import tzinfo
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from hub_page.desk.api import Denied, Refuses, answer_denied, answer_invalid, api_routes
from hub_page.desk.guard import Guard
from hub_page.desk.guesses import Guesses, TooManyGuesses
from hub_page.desk.links import Links
from hub_page.desk.pages import NoSuchPage, Pages
from hub_page.desk.store import DeskStore
from hub_page.desk.wording import Wording

PLAIN = Wording()
"""Words that fit any unit."""


def links_of(store: DeskStore) -> Links:
    """The links of a desk, made from the key it keeps."""
    return Links(store.secret_note("link key"))


def create_desk(
    store: DeskStore,
    *,
    secrets: Sequence[str],
    zone: tzinfo,
    words: Wording = PLAIN,
    refuses: Refuses = lambda order: None,
    lifespan: Callable[[FastAPI], Any] | None = None,
) -> FastAPI:
    """The desk's application; each of `secrets` lets the hub file orders, `refuses` says why an order is not taken."""
    pages = Pages(store, links_of(store), zone, words, Guesses(time.monotonic))
    app = FastAPI(title=words.title, docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)

    async def no_such_page(request: Request, error: Exception) -> Response:
        return await pages.message(
            "打不开这个页面", f"链接无效或已更换，请联系{words.contact}重新获取{words.title}链接。", status=404
        )

    async def too_many(request: Request, error: Exception) -> Response:
        if not isinstance(error, TooManyGuesses):
            raise error
        minutes = math.ceil(error.retry_after / 60)
        text = f"这个网络刚才多次打开了无效链接，请 {minutes} 分钟后再试。"
        answer = await pages.message("请稍后再试", text, status=429)
        answer.headers["retry-after"] = str(error.retry_after)
        return answer

    async def plain_error(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        if request.url.path.startswith("/api/"):
            return JSONResponse({"code": "http_error", "reason": f"HTTP {status}"}, status_code=status)
        if status == 404:
            return await no_such_page(request, error)
        return await pages.message("没有成功", f"请返回重试（{status}）。", status=status)

    async def front() -> Response:
        return await pages.message(words.title, f"请用{words.contact}发给您的专属链接打开，并把它收藏到手机桌面。", status=200)

    app.add_exception_handler(Denied, answer_denied)
    app.add_exception_handler(RequestValidationError, answer_invalid)
    app.add_exception_handler(NoSuchPage, no_such_page)
    app.add_exception_handler(TooManyGuesses, too_many)
    app.add_exception_handler(HTTPException, plain_error)
    app.include_router(api_routes(store, secrets, refuses))
    app.include_router(pages.routes())
    app.get("/")(front)
    app.add_middleware(Guard)
    return app
