"""Routes of adapters: how they stand; paused and resumed; installed plugins; instances added, changed, tried on a part, taken back.

Every change is a version in the ledger with who and when; secrets go in and never come out. See hub/platform/instances/registration.py.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Path, Request
from starlette.responses import Response

from hub.errors import InvalidInput, NotAllowed
from hub.model.rights import RUNNERS
from hub.platform.instances.book import InstanceRecord, Spec, spec_of
from hub.platform.instances.registration import By
from hub.platform.instances.status import AdapterStatus
from hub.privacy.masks import mask_text
from hub.surfaces.api.adapters.models import (
    AddBody,
    ChangeBody,
    InstanceAnswer,
    PluginAnswer,
    PluginList,
    VersionAnswer,
    VersionList,
    WhyBody,
    WidenBody,
)
from hub.surfaces.api.answers import answer
from hub.surfaces.api.bodies import ReasonBody, read_body
from hub.surfaces.api.models import AdapterAnswer, AdapterList
from hub.surfaces.api.openapi import gives, takes
from hub.surfaces.api.people.auth import Caller, CallerHere, ServicesHere
from hub.surfaces.api.services import Instances, Services

router = APIRouter(tags=["adapters"])

NamePath = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,64}$", description="Name of the adapter instance")]


_ADD = takes(
    AddBody,
    {
        "name": "landscaping",
        "plugin": "webhook",
        "set": {"settings": {"url": "https://yl.example.cn/hook", "secret": "whsec_…"}, "units": ["landscaping"]},
        "note": "园林绿化接入",
    },
)
_CHANGED = gives(InstanceAnswer, 400, 403, 409, 413, 415)
_PAUSE = takes(ReasonBody, {"reason": "对方系统升级"})
_WHY = takes(WhyBody, {"note": "对方系统升级"}, required=False)


@router.get("/adapters", summary="Adapters", responses=gives(AdapterList, 403))
async def adapters(services: ServicesHere, caller: CallerHere) -> Response:
    """How every adapter instance stands: state, breaker, queue."""
    caller.require(RUNNERS)
    return answer(AdapterList(items=[_listed(status) for status in await services.adapters.statuses()]))


@router.post(
    "/adapters/{name}/pause",
    summary="Pause an adapter",
    responses=gives(AdapterAnswer, 400, 403, 413, 415),
    openapi_extra=_PAUSE,
)
async def pause(request: Request, services: ServicesHere, caller: CallerHere, name: NamePath) -> Response:
    """Take nothing from its queue until resumed; what is in flight ends. Outlives a restart."""
    caller.require(RUNNERS)
    caller.require_everywhere()
    body = await read_body(request, ReasonBody)
    await services.adapters.pause(name, f"{caller.token.name}: {mask_text(body.reason)}")
    return answer(_listed(await services.adapters.status(name)))


@router.post("/adapters/{name}/resume", summary="Resume an adapter", responses=gives(AdapterAnswer, 403))
async def resume(services: ServicesHere, caller: CallerHere, name: NamePath) -> Response:
    """Go on with its queue."""
    caller.require(RUNNERS)
    caller.require_everywhere()
    await services.adapters.resume(name)
    return answer(_listed(await services.adapters.status(name)))


def _listed(status: AdapterStatus) -> AdapterAnswer:
    return AdapterAnswer(
        name=status.name,
        plugin=status.plugin,
        department=status.department,
        version=status.version,
        state=status.state,
        detail=status.detail,
        breaker=status.breaker,
        queued=status.queued,
        in_flight=status.in_flight,
        capabilities=list(status.capabilities),
        kind=status.kind,
        settings_version=status.settings_version,
        candidate_version=status.candidate_version,
        origin=status.origin,
        placement=status.placement,
        units=list(status.units),
        areas=list(status.areas),
        tier=status.tier,
    )


@router.get("/plugins", summary="Installed plugins", responses=gives(PluginList, 403))
async def plugins(services: ServicesHere, caller: CallerHere) -> Response:
    """Every plugin that is installed, with the schema of its settings."""
    caller.require(RUNNERS)
    return answer(_plugins(services, []))


@router.post("/plugins/look", summary="Find newly installed plugins", responses=gives(PluginList, 403))
async def look(services: ServicesHere, caller: CallerHere) -> Response:
    """Look again, without a restart. What is loaded already stays as it is, newer versions of it too."""
    caller.require(RUNNERS)
    caller.require_everywhere()
    return answer(_plugins(services, await _of(services).registration.look_for_plugins()))


@router.post(
    "/adapters",
    status_code=201,
    summary="Add an adapter",
    responses=gives(InstanceAnswer, 400, 403, 409, 413, 415, status=201),
    openapi_extra=_ADD,
)
async def add(request: Request, services: ServicesHere, caller: CallerHere) -> Response:
    """Tried first (its health; with `sample` a marked assignment), then it takes traffic at once, without a restart."""
    body = await _body(request, caller, AddBody)
    await _of(services).registration.add(body.name, body.plugin, body.set, _by(caller, body), enabled=body.enabled)
    return answer(await _shown(services, body.name), 201)


@router.get("/adapters/{name}", summary="One adapter", responses=gives(InstanceAnswer, 403))
async def one(services: ServicesHere, caller: CallerHere, name: NamePath) -> Response:
    """Everything about one instance but its secrets."""
    caller.require(RUNNERS)
    return answer(await _shown(services, name))


@router.patch(
    "/adapters/{name}",
    summary="Change an adapter",
    responses=gives(InstanceAnswer, 400, 403, 409, 413, 415),
    openapi_extra=takes(ChangeBody, {"set": {"settings": {"secret": "…"}}, "canary": {"percent": 10}, "note": "换密钥"}),
)
async def change(request: Request, services: ServicesHere, caller: CallerHere, name: NamePath) -> Response:
    """Tried first; what is in flight ends with the settings it began with."""
    body = await _body(request, caller, ChangeBody)
    canary = body.canary.canary() if body.canary is not None else None
    await _of(services).registration.change(name, body.set, _by(caller, body), canary=canary)
    return answer(await _shown(services, name))


@router.get("/adapters/{name}/history", summary="Changes of an adapter", responses=gives(VersionList, 403))
async def history(services: ServicesHere, caller: CallerHere, name: NamePath) -> Response:
    """Who changed what and when."""
    caller.require(RUNNERS)
    records = await _of(services).registration.history(name)
    return answer(VersionList(items=[_version(services, record) for record in records]))


@router.post(
    "/adapters/{name}/canary",
    summary="Another part for the candidate",
    responses=gives(InstanceAnswer, 400, 403, 409, 413, 415),
    openapi_extra=takes(WidenBody, {"percent": 50}),
)
async def widen(request: Request, services: ServicesHere, caller: CallerHere, name: NamePath) -> Response:
    """A larger (or smaller) share, other areas."""
    body = await _body(request, caller, WidenBody)
    await _of(services).registration.widen(name, body.canary(), _by(caller, body))
    return answer(await _shown(services, name))


@router.post("/adapters/{name}/enable", summary="Enable an adapter", responses=_CHANGED, openapi_extra=_WHY)
async def enable(request: Request, services: ServicesHere, caller: CallerHere, name: NamePath) -> Response:
    """Let it run (again): tried first; ends a drain."""
    body = await _body(request, caller, WhyBody, optional=True)
    await _of(services).registration.enable(name, _by(caller, body))
    return answer(await _shown(services, name))


@router.post("/adapters/{name}/disable", summary="Disable an adapter", responses=_CHANGED, openapi_extra=_WHY)
async def disable(request: Request, services: ServicesHere, caller: CallerHere, name: NamePath) -> Response:
    """It ends what it has in hand; its queue waits, callbacks are refused."""
    body = await _body(request, caller, WhyBody, optional=True)
    await _of(services).registration.disable(name, _by(caller, body))
    return answer(await _shown(services, name))


@router.post("/adapters/{name}/drain", summary="Drain an adapter", responses=_CHANGED, openapi_extra=_WHY)
async def drain(request: Request, services: ServicesHere, caller: CallerHere, name: NamePath) -> Response:
    """Finish what is in hand and take nothing new; reports still come in."""
    body = await _body(request, caller, WhyBody, optional=True)
    await _of(services).registration.drain(name, _by(caller, body))
    return answer(await _shown(services, name))


@router.post("/adapters/{name}/promote", summary="Promote the candidate", responses=_CHANGED, openapi_extra=_WHY)
async def promote(request: Request, services: ServicesHere, caller: CallerHere, name: NamePath) -> Response:
    """The changed settings for all cases."""
    body = await _body(request, caller, WhyBody, optional=True)
    await _of(services).registration.promote(name, _by(caller, body))
    return answer(await _shown(services, name))


@router.post("/adapters/{name}/rollback", summary="Roll back", responses=_CHANGED, openapi_extra=_WHY)
async def roll_back(request: Request, services: ServicesHere, caller: CallerHere, name: NamePath) -> Response:
    """Drop the candidate; without one, the settings before the present ones."""
    body = await _body(request, caller, WhyBody, optional=True)
    await _of(services).registration.roll_back(name, _by(caller, body))
    return answer(await _shown(services, name))


@router.post(
    "/adapters/{name}/remove",
    summary="Remove an adapter",
    responses=gives(VersionAnswer, 400, 403, 409, 413, 415),
    openapi_extra=_WHY,
)
async def remove(request: Request, services: ServicesHere, caller: CallerHere, name: NamePath) -> Response:
    """A disabled one goes and its secrets are destroyed; the history stays."""
    body = await _body(request, caller, WhyBody, optional=True)
    return answer(_version(services, await _of(services).registration.remove(name, _by(caller, body))))


def _of(services: Services) -> Instances:
    if services.instances is None:
        raise NotAllowed("no instances to change here")
    return services.instances


async def _body(request: Request, caller: Caller, kind: type[Any], *, optional: bool = False) -> Any:
    caller.require(RUNNERS)
    caller.require_everywhere()
    return await read_body(request, kind, optional=optional)


def _by(caller: Caller, body: WhyBody) -> By:
    return By(actor=caller.actor, note=mask_text(body.note), untried=body.untried, sample=body.sample)


def _plugins(services: Services, fresh: list[str]) -> PluginList:
    used: dict[str, list[str]] = {}
    for name in _of(services).roster.names():
        used.setdefault(_of(services).roster.plugin_of(name), []).append(name)
    items = []
    for name, kind in sorted(_of(services).roster.plugins.kinds.items()):
        manifest = kind.manifest
        items.append(
            PluginAnswer(
                name=name,
                kind=_of(services).roster.kind_of(name),
                department=manifest.department,
                version=manifest.version,
                owner=manifest.owner,
                placement=manifest.placement.value,
                capabilities=sorted(capability.value for capability in manifest.capabilities),
                settings=kind.Settings.model_json_schema(),
                instances=used.get(name, []),
            )
        )
    return PluginList(items=items, fresh=fresh)


async def _shown(services: Services, name: str) -> InstanceAnswer:
    status = await _of(services).roster.status(name)
    record = _of(services).roster.record(name)
    in_file = _of(services).roster.in_file(name)
    if record.stable is not None:
        stable = _spec(services, record.stable)
    elif in_file is not None:
        stable = _spec(services, spec_of(in_file)) | {"settings": _of(services).registration.shown_file_settings(in_file)}
    else:
        raise InvalidInput(f"{name} is no longer in config/adapters.yaml", subject="name")
    return InstanceAnswer(
        name=name,
        plugin=status.plugin,
        kind=status.kind,
        department=status.department,
        version=status.version,
        state=status.state,
        detail=status.detail,
        breaker=status.breaker,
        queued=status.queued,
        in_flight=status.in_flight,
        capabilities=list(status.capabilities),
        settings_version=status.settings_version,
        origin=status.origin,
        placement=status.placement,
        units=list(status.units),
        areas=list(status.areas),
        percent=status.percent,
        tier=status.tier,
        canary=None if status.canary is None else msgspec.to_builtins(status.canary),
        strays=status.strays,
        stable=stable,
        candidate=None if record.candidate is None else _spec(services, record.candidate),
        diagnostics=dict(await _of(services).roster.diagnostics(name)),
    )


def _version(services: Services, record: InstanceRecord) -> VersionAnswer:
    return VersionAnswer(
        version=record.version,
        at=record.at,
        by=record.actor.name,
        action=record.action,
        note=record.note,
        enabled=record.enabled,
        draining=record.draining,
        removed=record.removed,
        settings_version=record.stable_version,
        stable=None if record.stable is None else _spec(services, record.stable),
        candidate=None if record.candidate is None else _spec(services, record.candidate),
        canary=None if record.canary is None else msgspec.to_builtins(record.canary),
    )


def _spec(services: Services, spec: Spec) -> dict[str, Any]:
    """A spec as it may be shown; durations in seconds."""
    hidden = _of(services).registration.shown_settings(spec)
    shown: dict[str, Any] = msgspec.to_builtins(msgspec.structs.replace(spec, settings=hidden))
    for name in ("backoff_base", "backoff_cap"):
        value = getattr(spec, name)
        if value is not None:
            shown[name] = value.total_seconds()
    if spec.schedule is not None:
        shown["schedule"] = [step.total_seconds() for step in spec.schedule]
    return shown
