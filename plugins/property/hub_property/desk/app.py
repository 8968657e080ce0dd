"""Puts the desk together: interface, pages, guard.

Called by the command line and by the simulator.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import tzinfo
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from hub_property.desk.api import Denied, Refuses, answer_denied, answer_invalid, api_routes
from hub_property.desk.guard import Guard
from hub_property.desk.links import Links
from hub_property.desk.pages import NoSuchPage, Pages
from hub_property.desk.store import DeskStore


def links_of(store: DeskStore) -> Links:
    """The links of a desk, made from the key it keeps."""
    return Links(store.secret_note("link key"))


def create_desk(
    store: DeskStore,
    *,
    secret: str,
    zone: tzinfo,
    refuses: Refuses = lambda order: None,
    lifespan: Callable[[FastAPI], Any] | None = None,
) -> FastAPI:
    """The desk's application; `secret` is what the hub shows to file orders, `refuses` why an order is not taken."""
    pages = Pages(store, links_of(store), zone)
    app = FastAPI(title="物业工单台", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)

    async def no_such_page(request: Request, error: Exception) -> Response:
        return await pages.message("打不开这个页面", "链接无效或已更换，请联系社区重新获取物业工单链接。", status=404)

    async def plain_error(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        if request.url.path.startswith("/api/"):
            return JSONResponse({"code": "http_error", "reason": f"HTTP {status}"}, status_code=status)
        if status == 404:
            return await no_such_page(request, error)
        return await pages.message("没有成功", f"请返回重试（{status}）。", status=status)

    async def front() -> Response:
        return await pages.message("物业工单", "请用社区发给您的专属链接打开，并把它收藏到手机桌面。", status=200)

    app.add_exception_handler(Denied, answer_denied)
    app.add_exception_handler(RequestValidationError, answer_invalid)
    app.add_exception_handler(NoSuchPage, no_such_page)
    app.add_exception_handler(HTTPException, plain_error)
    app.include_router(api_routes(store, secret, refuses))
    app.include_router(pages.routes())
    app.get("/")(front)
    app.add_middleware(Guard)
    return app
