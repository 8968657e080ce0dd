"""The pages a person sees: a list of orders, an order with its buttons, a question before the last step.

Plain HTML forms, no script. A page is opened by the team's personal link; every form carries a token bound to the order's
version. After a step the browser is redirected, so reloading repeats nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from importlib.resources import files
from typing import Any

import jinja2
from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException

from hub_page.desk import wording
from hub_page.desk.guard import TooLarge
from hub_page.desk.guesses import Guesses
from hub_page.desk.images import NotAPhoto, check_image
from hub_page.desk.links import Links
from hub_page.desk.orders import LogLine, Order, Step, after
from hub_page.desk.store import DeskStore, StepRefused, TooManyPhotos
from hub_page.desk.wording import Wording
from hub_page.messages import MOST_PHOTO, MOST_PHOTOS, Team

_PAGE = 50
_MOST_NOTE = 1000
_DRAIN = 64 * 1024 * 1024
"""A body that is too large is read this far, so that the browser gets to see the answer."""


class NoSuchPage(Exception):
    """The link opens nothing, or the order isn't the team's; never says which."""


class PageProblem(Exception):
    """The form can't be taken; shown on the order's page with what was typed."""

    def __init__(self, text: str, *, status: int = 422, **typed: Any) -> None:
        super().__init__(text)
        self.text = text
        self.status = status
        self.typed = typed


@dataclass(frozen=True)
class _Visit:
    """Who came with which link."""

    team: Team
    base: str

    def here(self, order: Order) -> str:
        return f"{self.base}/orders/{order.ticket}"


class Pages:
    """Shows pages and takes forms."""

    def __init__(self, store: DeskStore, links: Links, zone: tzinfo, words: Wording, guesses: Guesses) -> None:
        self._store = store
        self._links = links
        self._words = words
        self._guesses = guesses
        self._clockwork = wording.Clockwork(zone)
        self._style = files("hub_page.desk").joinpath("desk.css").read_bytes()
        self._templates = jinja2.Environment(
            loader=jinja2.PackageLoader("hub_page.desk"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters |= {
            "state_name": lambda state: wording.STATES[state.value],
            "severity_name": lambda word: wording.SEVERITIES[word],
            "kind_name": words.kind,
            "moment": lambda seconds: self._clockwork.moment(seconds, store.clock()),
            "due": lambda order: self._clockwork.due(order, store.clock()),
        }
        self._templates.globals |= {"words": words, "style_version": hashlib.sha256(self._style).hexdigest()[:12]}

    def routes(self) -> APIRouter:
        """The routes under /p/<team>/<token>, and the style sheet."""
        router = APIRouter(include_in_schema=False)
        router.get("/desk.css")(self.style)
        base = "/p/{team}/{token}"
        here = base + "/orders/{ticket}"
        router.get(base)(self.orders)
        router.get(here)(self.order)
        router.post(here + "/accept")(self.accept)
        router.post(here + "/progress")(self.progress)
        router.post(here + "/resolve")(self.resolve)
        router.post(here + "/undo")(self.undo)
        router.post(here + "/return")(self.give_back)
        router.get(here + "/photos/{photo}")(self.photo)
        router.post(here + "/photos")(self.add_photos)
        router.post(here + "/photos/{photo}/remove")(self.remove_photo)
        return router

    async def style(self) -> Response:
        """The style sheet; its address changes with its content."""
        return Response(self._style, media_type="text/css", headers={"cache-control": "public, max-age=31536000, immutable"})

    async def message(self, heading: str, text: str, *, status: int, back: str | None = None) -> Response:
        """A page that only says something."""
        return self._html("message.html", status=status, heading=heading, text=text, back=back)

    # looking

    async def orders(self, request: Request, team: str, token: str, view: str = "", page: str = "1") -> Response:
        """The team's orders: open ones, or (`view=past`) those that are over."""
        visit = self._visit(request, team, token)
        past = view == "past"
        counts = self._store.count(visit.team.id)
        pages = max(1, math.ceil(counts[past] / _PAGE))
        number = min(max(int(page), 1), pages) if page.isascii() and page.isdigit() and len(page) < 7 else 1
        listed = self._store.past_orders if past else self._store.open_orders
        return self._html(
            "list.html",
            base=visit.base,
            team=visit.team,
            past=past,
            open_count=counts[0],
            past_count=counts[1],
            orders=listed(visit.team.id, offset=(number - 1) * _PAGE, limit=_PAGE),
            page=number,
            pages=pages,
        )

    async def order(self, request: Request, team: str, token: str, ticket: str, done: str = "") -> Response:
        """One order with what can be done now."""
        visit = self._visit(request, team, token)
        return self._order_page(visit, self._order(visit, ticket), flash=wording.DONE.get(done))

    async def photo(self, request: Request, team: str, token: str, ticket: str, photo: str) -> Response:
        """A photo of the order."""
        visit = self._visit(request, team, token)
        found = self._store.photo_content(photo, ticket=self._order(visit, ticket).ticket)
        if found is None:
            raise NoSuchPage
        return Response(found[1], media_type=found[0], headers={"cache-control": "private, max-age=86400"})

    # doing

    async def accept(self, request: Request, team: str, token: str, ticket: str) -> Response:
        """签收."""
        return await self._step(request, team, token, ticket, Step.ACCEPT)

    async def progress(self, request: Request, team: str, token: str, ticket: str) -> Response:
        """填写进展; the photos not sent yet go with it."""
        return await self._step(request, team, token, ticket, Step.PROGRESS)

    async def resolve(self, request: Request, team: str, token: str, ticket: str) -> Response:
        """办结: asks first, then does it."""
        return await self._step(request, team, token, ticket, Step.RESOLVE)

    async def undo(self, request: Request, team: str, token: str, ticket: str) -> Response:
        """撤销办结, as long as nobody was told."""
        visit = self._visit(request, team, token)
        order = self._order(visit, ticket)
        try:
            async with self._form(request) as form:
                self._store.undo(order.ticket, version=self._version(form, visit, order))
        except StepRefused:
            return self._order_page(visit, self._order(visit, ticket), error=wording.TOO_LATE, status=409)
        except PageProblem as problem:
            return self._order_page(visit, order, error=problem.text, status=problem.status)
        return RedirectResponse(f"{visit.here(order)}?done=undone", status_code=303)

    async def give_back(self, request: Request, team: str, token: str, ticket: str) -> Response:
        """退单 with a reason."""
        return await self._step(request, team, token, ticket, Step.RETURN)

    async def add_photos(self, request: Request, team: str, token: str, ticket: str) -> Response:
        """Keep one or several photos for the next report."""
        visit = self._visit(request, team, token)
        order = self._order(visit, ticket)
        try:
            async with self._form(request) as form:
                self._version(form, visit, order)
                uploads = [item for item in form.getlist("photo") if isinstance(item, UploadFile)]
                for upload in uploads:
                    self._store.add_photo(order.ticket, check_image(await upload.read(MOST_PHOTO + 1)))
            if not uploads:
                raise NotAPhoto("empty")
        except NotAPhoto as problem:
            return self._order_page(visit, order, error=wording.PHOTO_PROBLEMS[problem.code], status=422)
        except TooManyPhotos:
            return self._order_page(visit, order, error=wording.PHOTO_PROBLEMS["too_many"], status=422)
        except StepRefused:
            return self._order_page(visit, self._order(visit, ticket), error=wording.MOVED_ON, status=409)
        except PageProblem as problem:
            return self._order_page(visit, order, error=problem.text, status=problem.status)
        return RedirectResponse(f"{visit.here(order)}?done=photo#photos", status_code=303)

    async def remove_photo(self, request: Request, team: str, token: str, ticket: str, photo: str) -> Response:
        """Forget a photo that was not sent."""
        visit = self._visit(request, team, token)
        order = self._order(visit, ticket)
        try:
            async with self._form(request) as form:
                self._version(form, visit, order)
        except PageProblem as problem:
            return self._order_page(visit, order, error=problem.text, status=problem.status)
        self._store.remove_photo(order.ticket, photo)
        return RedirectResponse(f"{visit.here(order)}?done=removed#photos", status_code=303)

    async def _step(self, request: Request, team: str, token: str, ticket: str, step: Step) -> Response:
        visit = self._visit(request, team, token)
        order = self._order(visit, ticket)
        note: str | None = None
        try:
            async with self._form(request) as form:
                version = self._version(form, visit, order)
                note = _note(form, step, self._words.choices)
                confirmed = _text(form, "confirm")
            if step is Step.RESOLVE and confirmed == "no":
                return self._order_page(visit, order, typed_result=note)
            if step is Step.RESOLVE and confirmed != "yes":
                return self._ask(visit, order, version, note or "")
            self._store.take_step(order.ticket, step, version=version, note=note, by=visit.team.name)
        except StepRefused:
            now = self._order(visit, ticket)
            return self._order_page(visit, now, error=wording.MOVED_ON, status=409, **_typed(step, note or ""))
        except PageProblem as problem:
            return self._order_page(visit, order, error=problem.text, status=problem.status, **problem.typed)
        return RedirectResponse(f"{visit.here(order)}?done={step.value}", status_code=303)

    def _ask(self, visit: _Visit, order: Order, version: int, note: str) -> Response:
        """The question before the last step; raises StepRefused when it could not be done."""
        if after(order.state, Step.RESOLVE) is None or order.version != version:
            raise StepRefused(order.ticket)
        photos = self._store.photos(order.ticket, event=None)
        return self._html(
            "confirm.html",
            here=visit.here(order),
            order=order,
            note=note,
            photos=photos,
            form=self._form_token(visit, order),
            undo_for=round(self._store.undo_for),
        )

    # parts

    def _visit(self, request: Request, team: str, token: str) -> _Visit:
        address = request.client.host if request.client is not None else ""
        self._guesses.check(address, token)
        found = self._store.team(team)
        opens = self._links.opens(token, team, found[1] if found else 0)
        if found is None or not opens:
            self._guesses.wrong(address)
            raise NoSuchPage
        self._guesses.right(address, token)
        return _Visit(found[0], self._links.path(*_address(found)))

    def _order(self, visit: _Visit, ticket: str) -> Order:
        order = self._store.order(ticket)
        if order is None or order.team != visit.team.id:
            raise NoSuchPage
        return order

    def _form_token(self, visit: _Visit, order: Order) -> str:
        return self._links.form(visit.team.id, order.ticket, order.version)

    def _version(self, form: FormData, visit: _Visit, order: Order) -> int:
        """The order's version the form was made for; raises PageProblem when the form was not made here."""
        version = self._links.form_version(_text(form, "form"), visit.team.id, order.ticket)
        if version is None:
            raise PageProblem("页面已失效，请重新操作。", status=403)
        return version

    @contextlib.asynccontextmanager
    async def _form(self, request: Request) -> AsyncIterator[FormData]:
        """The form's fields; raises PageProblem for one from another site, or one that is too large."""
        if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            raise PageProblem("操作来自其他网站，没有执行。", status=403)
        try:
            form = await request.form(max_files=MOST_PHOTOS, max_fields=20)
        except TooLarge as error:
            await _drain(request)
            raise PageProblem(wording.PHOTO_PROBLEMS["too_many"], status=413) from error
        except HTTPException as error:  # not a form, or more files than one report may have
            raise PageProblem(wording.PHOTO_PROBLEMS["too_many"], status=error.status_code) from error
        try:
            yield form
        finally:
            await form.close()

    def _order_page(
        self,
        visit: _Visit,
        order: Order,
        *,
        flash: str | None = None,
        error: str | None = None,
        status: int = 200,
        **typed: Any,
    ) -> Response:
        history = self._store.history(order.ticket)
        undo_until = self._store.undo_until(order)
        values: dict[str, Any] = {
            "typed_progress": "",
            "typed_result": _undone(history),
            "typed_reason": "",
            "reason_error": False,
            "base": visit.base,
            "here": visit.here(order),
            "order": order,
            "form": self._form_token(visit, order),
            "photos": self._store.photos(order.ticket, event=None),
            "most_photos": MOST_PHOTOS,
            "history": history,
            "reasons": self._words.choices,
            "undo_seconds": 0 if undo_until is None else max(1, math.ceil(undo_until - self._store.clock())),
        }
        return self._html("order.html", status=status, **{**values, "flash": flash, "error": error, **typed})

    def _html(self, template: str, *, status: int = 200, **values: Any) -> Response:
        page: Mapping[str, Any] = {"flash": None, "error": None, **values}
        return HTMLResponse(self._templates.get_template(template).render(page), status_code=status)


def _undone(history: Sequence[LogLine]) -> str:
    """What was written for a result that was taken back last, to go on from; "" when nothing was."""
    if not history or history[-1].kind != "undone":
        return ""
    return next((line.note or "" for line in reversed(history) if line.kind == Step.RESOLVE.value), "")


def _address(found: tuple[Team, int]) -> tuple[str, int]:
    return found[0].id, found[1]


async def _drain(request: Request) -> None:
    """Read and throw away what is left of a body, up to a point."""
    read = 0
    while read < _DRAIN:
        message = await request.receive()
        if message["type"] != "http.request" or not message.get("more_body", False):
            return
        read += len(message.get("body", b""))


def _text(form: FormData, name: str) -> str:
    value = form.get(name)
    return value if isinstance(value, str) else ""


def _note(form: FormData, step: Step, reasons: Sequence[str]) -> str | None:
    """What the person wrote; raises PageProblem when something is missing."""
    note = _text(form, "note").replace("\r\n", "\n").strip()
    if len(note) > _MOST_NOTE:
        raise PageProblem(f"内容太长，请不超过 {_MOST_NOTE} 字。", **_typed(step, note))
    match step:
        case Step.ACCEPT:
            return None
        case Step.RETURN:
            return _reason(_text(form, "reason"), note, reasons)
        case _:
            if not note:
                raise PageProblem("请填写处理结果。" if step is Step.RESOLVE else "请填写进展内容。", **_typed(step, note))
            return note


def _reason(choice: str, note: str, reasons: Sequence[str]) -> str:
    number = int(choice) if choice.isascii() and choice.isdigit() and len(choice) < 3 else len(reasons)
    if number >= len(reasons):
        raise PageProblem("请选择退回原因。", typed_reason=note, reason_error=True)
    if number == len(reasons) - 1:
        if not note:
            raise PageProblem("选择“其他原因”时，请写明原因。", reason_error=True)
        return note
    return f"{reasons[number]}。{note}" if note else reasons[number]


def _typed(step: Step, note: str) -> dict[str, Any]:
    field = {Step.PROGRESS: "typed_progress", Step.RESOLVE: "typed_result", Step.RETURN: "typed_reason"}.get(step)
    return {field: note} if field else {}
