"""Routes of adapters: their state; pausing and resuming; installed plugins; adding, changing, trying on a part, and rolling back instances.

Every change is a version in the ledger with who and when. Secrets go in and never come out. See hub/platform/instances/registration.py.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Path

from hub.errors import InvalidInput, NotAllowed
from hub.platform.instances.book import InstanceRecord, Spec, spec_of
from hub.platform.instances.registration import By, Registration
from hub.privacy.masks import mask_text
from hub.surfaces.api.adapters.models import (
    AdapterAnswer,
    AdapterList,
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
from hub.surfaces.api.answers import Answered, alike, answer
from hub.surfaces.api.bodies import ReasonBody, reads
from hub.surfaces.api.openapi import refuses
from hub.surfaces.api.people.auth import Caller, DistrictRunner, Runner, ServicesHere
from hub.surfaces.api.services import Instances, Services

router = APIRouter(tags=["adapters"])

NamePath = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,64}$", description="Name of the adapter instance")]
WhySent = Annotated[WhyBody, reads(WhyBody, optional=True)]


_CHANGED = refuses(409)


@router.get("/adapters", summary="Adapters")
async def adapters(services: ServicesHere, caller: Runner) -> Answered[AdapterList]:
    """How every adapter instance stands: state, breaker, queue."""
    return answer(AdapterList(items=[alike(AdapterAnswer, status) for status in await services.statuses.all()]))


@router.post(
    "/adapters/{name}/pause",
    summary="Pause an adapter",
)
async def pause(
    services: ServicesHere,
    caller: DistrictRunner,
    name: NamePath,
    body: Annotated[ReasonBody, reads(ReasonBody)],
) -> Answered[AdapterAnswer]:
    """Take nothing from its queue until resumed. Work in flight ends. Outlives a restart."""
    await services.adapters.pause(name, f"{caller.token.name}: {mask_text(body.reason)}")
    return answer(alike(AdapterAnswer, await services.statuses.of(name)))


@router.post("/adapters/{name}/resume", summary="Resume an adapter")
async def resume(services: ServicesHere, caller: DistrictRunner, name: NamePath) -> Answered[AdapterAnswer]:
    """Go on with its queue."""
    await services.adapters.resume(name)
    return answer(alike(AdapterAnswer, await services.statuses.of(name)))


@router.get("/plugins", summary="Installed plugins")
async def plugins(services: ServicesHere, caller: Runner) -> Answered[PluginList]:
    """Every plugin that is installed, with the schema of its settings."""
    return answer(_plugins(services, []))


@router.post("/plugins/look", summary="Find newly installed plugins")
async def look(services: ServicesHere, caller: DistrictRunner) -> Answered[PluginList]:
    """Look again, without a restart. What is loaded already stays as it is, newer versions of it too."""
    return answer(_plugins(services, await _of(services).registration.look_for_plugins()))


@router.post(
    "/adapters",
    status_code=201,
    summary="Add an adapter",
    responses=_CHANGED,
)
async def add(
    services: ServicesHere, caller: DistrictRunner, body: Annotated[AddBody, reads(AddBody)]
) -> Answered[InstanceAnswer]:
    """The hub tries it first (its health; with `sample` a marked assignment). Then it takes traffic at once, without a restart."""
    await _of(services).registration.add(body.name, body.plugin, body.set, _by(caller, body), enabled=body.enabled)
    return answer(await _shown(services, body.name), 201)


@router.get("/adapters/{name}", summary="One adapter")
async def one(services: ServicesHere, caller: Runner, name: NamePath) -> Answered[InstanceAnswer]:
    """Everything about one instance but its secrets."""
    return answer(await _shown(services, name))


@router.patch(
    "/adapters/{name}",
    summary="Change an adapter",
    responses=_CHANGED,
)
async def change(
    services: ServicesHere, caller: DistrictRunner, name: NamePath, body: Annotated[ChangeBody, reads(ChangeBody)]
) -> Answered[InstanceAnswer]:
    """The hub tries it first. Work in flight ends with its old settings."""
    canary = body.canary.canary() if body.canary is not None else None
    await _of(services).registration.change(name, body.set, _by(caller, body), canary=canary)
    return answer(await _shown(services, name))


@router.get("/adapters/{name}/history", summary="Changes of an adapter")
async def history(services: ServicesHere, caller: Runner, name: NamePath) -> Answered[VersionList]:
    """Who changed what and when."""
    records = await _of(services).registration.history(name)
    return answer(VersionList(items=[_version(services, record) for record in records]))


@router.post(
    "/adapters/{name}/canary",
    summary="Another part for the candidate",
    responses=_CHANGED,
)
async def widen(
    services: ServicesHere, caller: DistrictRunner, name: NamePath, body: Annotated[WidenBody, reads(WidenBody)]
) -> Answered[InstanceAnswer]:
    """A larger (or smaller) share, other areas."""
    await _of(services).registration.widen(name, body.canary(), _by(caller, body))
    return answer(await _shown(services, name))


Change = Callable[[Registration, str, By], Awaitable[InstanceRecord]]

_CHANGES: tuple[tuple[str, Change, str, str], ...] = (
    ("enable", Registration.enable, "Enable an adapter", "Let it run (again): tried first; ends a drain."),
    (
        "disable",
        Registration.disable,
        "Disable an adapter",
        "It ends what it has in hand; its queue waits, callbacks are refused.",
    ),
    ("drain", Registration.drain, "Drain an adapter", "Finish what is in hand and take nothing new; reports still come in."),
    ("promote", Registration.promote, "Promote the candidate", "The changed settings for all cases."),
    ("rollback", Registration.roll_back, "Roll back", "Drop the candidate; without one, the settings before the present ones."),
)
"""Changes that need nothing but a why: the word in the path, the action, the description."""


def changes_router() -> APIRouter:
    """A route for each change that needs nothing but a why."""
    made = APIRouter(tags=["adapters"])
    for word, change, summary, says in _CHANGES:
        made.add_api_route(
            f"/adapters/{{name}}/{word}",
            _changing(change),
            methods=["POST"],
            name=word,
            summary=summary,
            description=says,
            responses=_CHANGED,
        )
    return made


def _changing(change: Change) -> Callable[..., Awaitable[Answered[InstanceAnswer]]]:
    async def changed(
        services: ServicesHere, caller: DistrictRunner, name: NamePath, body: WhySent
    ) -> Answered[InstanceAnswer]:
        await change(_of(services).registration, name, _by(caller, body))
        return answer(await _shown(services, name))

    return changed


@router.post(
    "/adapters/{name}/remove",
    summary="Remove an adapter",
    responses=_CHANGED,
)
async def remove(services: ServicesHere, caller: DistrictRunner, name: NamePath, body: WhySent) -> Answered[VersionAnswer]:
    """A disabled one goes and its secrets are destroyed; the history stays."""
    return answer(_version(services, await _of(services).registration.remove(name, _by(caller, body))))


def _of(services: Services) -> Instances:
    if services.instances is None:
        raise NotAllowed("no instances to change here")
    return services.instances


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
            alike(
                PluginAnswer,
                manifest,
                name=name,
                kind=_of(services).roster.kind_of(name),
                capabilities=sorted(capability.value for capability in manifest.capabilities),
                settings=kind.Settings.model_json_schema(),
                instances=used.get(name, []),
            )
        )
    return PluginList(items=items, fresh=fresh)


async def _shown(services: Services, name: str) -> InstanceAnswer:
    status = await services.statuses.of(name)
    record = _of(services).roster.record(name)
    in_file = _of(services).roster.in_file(name)
    if record.stable is not None:
        stable = _spec(services, record.stable)
    elif in_file is not None:
        stable = _spec(services, spec_of(in_file)) | {"settings": _of(services).registration.shown_file_settings(in_file)}
    else:
        raise InvalidInput(f"{name} is no longer in config/adapters.yaml", subject="name")
    return alike(
        InstanceAnswer,
        status,
        stable=stable,
        candidate=None if record.candidate is None else _spec(services, record.candidate),
        diagnostics=dict(await services.statuses.diagnostics(name)),
    )


def _version(services: Services, record: InstanceRecord) -> VersionAnswer:
    return alike(
        VersionAnswer,
        record,
        by=record.actor.name,
        settings_version=record.stable_version,
        stable=None if record.stable is None else _spec(services, record.stable),
        candidate=None if record.candidate is None else _spec(services, record.candidate),
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
