"""`POST /cases/{id}/{command}`: one route for every command people may give, made from the commands themselves.

Checks scope and role, then asks the desk; the lifecycle's own refusals come back as 409 with state, command and rule.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec
from fastapi import APIRouter, Request
from starlette.responses import Response

from hub.api.answers import REPLAYED, SEQUENCE, KeyHeader, answer, command_id, utc_now, wrote
from hub.api.auth import Caller, CallerHere, ServicesHere
from hub.api.bodies import EXAMPLES, GIVEN, body_of, command_from, read_body, tag_of
from hub.api.cases import CasePath, telemetry_case
from hub.api.models import CommandAnswer
from hub.api.openapi import gives, takes
from hub.api.present import Presenter
from hub.api.problems import Failure
from hub.api.services import Services
from hub.desk import Outcome
from hub.errors import InvalidInput
from hub.model.cases import SYSTEM, Attachment, Case, CaseId
from hub.model.commands import Absorb, AnyCommand, Command, EraseContact, Merge
from hub.model.lifecycle import decide

_CATCH_UP = 10.0
"""Seconds an erasure waits for the read models, to know which other cases have a file."""


def commands_router() -> tuple[APIRouter, dict[str, type[msgspec.Struct]]]:
    """The routes of all commands, and each command's body by its name."""
    router = APIRouter(prefix="/cases/{id}", tags=["commands"])
    kinds: dict[str, type[msgspec.Struct]] = {}
    for command in GIVEN:
        name = tag_of(command)
        kinds[name] = kind = body_of(command)
        optional = not any(field.required for field in msgspec.structs.fields(kind))
        router.add_api_route(
            f"/{name}",
            _endpoint(command, name, kind, optional=optional),
            methods=["POST"],
            name=name,
            summary=(command.__doc__ or name).partition("\n")[0],
            operation_id=f"command_{name}",
            responses=gives(CommandAnswer, 400, 403, 409, 413, 415),
            openapi_extra=takes(kind, EXAMPLES[name], required=not optional),
        )
    return router, kinds


def _endpoint(
    command: type[Command], name: str, kind: type[msgspec.Struct], *, optional: bool
) -> Callable[..., Awaitable[Response]]:
    async def give(
        request: Request, services: ServicesHere, caller: CallerHere, id: CasePath, key: KeyHeader = None
    ) -> Response:
        case = caller.must_see(await services.desk.load(CaseId(id)))
        telemetry_case(id)
        caller.may_command(name)
        wanted = command_from(command, await read_body(request, kind, optional=optional))
        outcome = await execute(services, caller, case, wanted, key)
        erased = await _erase_files(services, outcome) if isinstance(wanted, EraseContact) else None
        return command_answer(request, services, caller, outcome, erased)

    give.__doc__ = command.__doc__
    return give


async def execute(services: Services, caller: Caller, case: Case, command: AnyCommand, key: str | None) -> Outcome:
    """Do a command with what belongs to it: a merge is told to the other case first, an erasure destroys the key first."""
    match command:
        case Merge():
            await _absorb(services, caller, case, command, key)
        case EraseContact():
            _would_do(services, caller, case, command, key)
            command = await services.desk.worded(command, case)  # while it is known whose name may not stand in the reason
            await services.vault.erase(case.id)
    return await services.desk.execute(
        case.id, command, actor=caller.actor, command_id=command_id(caller, key), cause=case.last_trace
    )


async def _absorb(services: Services, caller: Caller, case: Case, command: Merge, key: str | None) -> None:
    if command.into == case.id:
        raise InvalidInput("a case can't be merged into itself", subject="into")
    other = await services.desk.load(command.into)
    if other is None or not caller.sees(other):
        raise InvalidInput("no such case", subject="into")
    if not _would_do(services, caller, case, command, key):
        return
    await services.desk.execute(
        other.id, Absorb(other=case.id), actor=SYSTEM, command_id=f"absorb:{case.id}", cause=case.last_trace
    )


def _would_do(services: Services, caller: Caller, case: Case, command: AnyCommand, key: str | None) -> bool:
    """Whether the command is new; raises what the lifecycle would, so that nothing else is done for a refused command."""
    identity = command_id(caller, key)
    if identity is not None and identity in case.commands:
        return False
    decide(case, command, actor=caller.actor, rules=services.district().policy, now=utc_now())
    return True


async def _erase_files(services: Services, outcome: Outcome) -> tuple[list[str], list[Attachment]]:
    """Destroy the files that came with the report and belong to no other case; (destroyed, what the case has left).

    The command can be given again when the hub stops half way. Raises Failure(503) while the read models don't know enough.
    """
    case = outcome.case
    if not await services.views.wait_for(await services.ledger.last_sequence(), _CATCH_UP):
        detail = "The contact is erased; which files go with it is not known yet. Give the command again."
        raise Failure(503, "unavailable", detail, headers={"Retry-After": "5"})
    story = await services.views.timeline(case.id)
    reported = [entry.body.get("attachments") for entry in story if entry.event == "case.reported"]
    theirs = {str(file["sha256"]) for files in reported if isinstance(files, list) for file in files}
    destroyed = []
    for sha256 in sorted(theirs):
        if await services.views.cases_with_file(sha256) <= {case.id}:
            await services.objects.delete(sha256)
            destroyed.append(sha256)
    return destroyed, [file for file in case.attachments if file.sha256 not in destroyed]


def command_answer(
    request: Request,
    services: Services,
    caller: Caller,
    outcome: Outcome,
    erased: tuple[list[str], list[Attachment]] | None = None,
) -> Response:
    """The answer to a command: the case after it, even when it has just left the caller's scope."""
    wrote(request, caller, outcome.sequence)
    headers = {SEQUENCE: str(outcome.sequence)}
    if outcome.repeated:
        headers[REPLAYED] = "true"
    shown = CommandAnswer(
        case=Presenter(services.district(), caller, utc_now()).case(outcome.case),
        sequence=outcome.sequence,
        events=[str(event.__struct_config__.tag) for event in outcome.events],
        repeated=outcome.repeated,
        files_destroyed=[] if erased is None else erased[0],
        files_kept=[] if erased is None else erased[1],
    )
    return answer(shown, headers=headers)


__all__ = ["command_answer", "commands_router", "execute"]
