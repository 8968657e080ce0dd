"""The case in the HTTP interface: rights to its commands, its presentation, and the waiting after a merge or an erasure."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from hub.errors import InvalidInput, TransitionRefused
from hub.model.aggregate import Command, Commit, Folded, tag_of
from hub.model.case import CASE
from hub.model.case.commands import EraseContact, Merge
from hub.model.case.events import CaseMerged, ContactDestroyed, MergeRefused
from hub.model.case.state import Case
from hub.spine.ledger.desk import ANSWER_WITHIN, Outcome
from hub.surfaces.api.answers import told_on, utc_now
from hub.surfaces.api.cases.models import CaseAnswer, CommandAnswer
from hub.surfaces.api.cases.present import Presenter, attention_for, own_assignments
from hub.surfaces.api.matters.kinds import Kind, Showing
from hub.surfaces.api.matters.models import TimelineItem
from hub.surfaces.api.problems import Failure
from hub.views.projection import CASES
from hub.views.queries import TimelineEntry

if TYPE_CHECKING:
    from hub.surfaces.api.people.auth import Caller
    from hub.surfaces.api.services import Services


def _presenter(here: Showing) -> Presenter:
    return Presenter(here.district, here.caller, here.now)


def _show(here: Showing, folded: Folded[Case], updated_at: datetime | None) -> CaseAnswer:
    return _presenter(here).case(folded, updated_at)


def _tell(here: Showing, folded: Folded[Case], story: tuple[TimelineEntry, ...]) -> list[TimelineItem]:
    return _presenter(here).timeline(folded.state, story)


def _change(case: Case, caller: Caller) -> dict[str, object]:
    own = own_assignments(case, caller)
    return {
        "stage": case.stage.value,
        "title": case.title,
        "category": case.category,
        "severity": None if case.severity is None else case.severity.value,
        "holder": case.holder,
        "attention": attention_for(case, None if own is None else {item.id for item in own}),
    }


def _result(here: Showing, outcome: Outcome[Case]) -> CommandAnswer:
    destroyed = [sha for event in outcome.events if isinstance(event, ContactDestroyed) for sha in event.files]
    kept = list(outcome.state.attachments) if any(isinstance(event, ContactDestroyed) for event in outcome.events) else []
    for sha in destroyed:  # what came with the report comes first; the same may have been attached anew since
        kept.remove(next(file for file in kept if file.sha256 == sha))
    return CommandAnswer(
        case=_show(here, outcome.folded, None),
        sequence=outcome.sequence,
        events=[tag_of(event) for event in outcome.events],
        repeated=outcome.repeated,
        files_destroyed=destroyed,
        files_kept=kept,
    )


async def _before(services: Services, caller: Caller, command: Command) -> None:
    """A merge names a case that the caller sees."""
    if isinstance(command, Merge):
        other = await services.desk.load(command.into)
        if other is None or not caller.sees(other.state):
            raise InvalidInput("no such case", subject="into")


async def _after(services: Services, command: Command, outcome: Outcome[Case]) -> Outcome[Case]:
    """Wait for the other case's answer to a merge, and for the destruction of an erasure's key. Reactions do both."""
    match command:
        case Merge():
            return await _merged(services, command, outcome)
        case EraseContact() if outcome.state.contact_erased:
            found = await _wait_for(services, outcome, (ContactDestroyed,))
            if found is None:
                detail = "The contact is given to nobody any more; its key and files are destroyed as soon as possible."
                raise Failure(503, "unavailable", detail, headers={"Retry-After": "5"})
            return await _newest(services, outcome, found)
    await told_on(services, outcome)
    return outcome


async def _merged(services: Services, command: Merge, outcome: Outcome[Case]) -> Outcome[Case]:
    case = outcome.state
    if case.merging is None and case.merged_into == command.into:
        return outcome
    found = await _wait_for(services, outcome, (CaseMerged, MergeRefused), into=command.into)
    if found is None:
        return outcome
    for event in found.events:
        if isinstance(event, MergeRefused):
            raise TransitionRefused(state=case.stage.value, command="merge", rule=event.reason, subject=case.id)
    return await _newest(services, outcome, found)


async def _wait_for(
    services: Services, outcome: Outcome[Case], kinds: tuple[type[Any], ...], **fields: object
) -> Commit[Any] | None:
    """The first commit after the command's own with one of these events. None when it takes too long; then it still comes."""
    id = outcome.folded.id
    if not outcome.events:  # given before: the answer may be there already
        commit: Commit[Any]
        for _, commit in reversed(await services.ledger.commits(id)):
            if _has(commit, kinds, fields):
                return commit
    try:
        async with asyncio.timeout(ANSWER_WITHIN):
            async for _, following, _ in services.ledger.follow(outcome.sequence, subject=CASE.subject(id)):
                if _has(following, kinds, fields):
                    return following
    except TimeoutError:
        return None
    return None


def _has(commit: Commit[Any], kinds: tuple[type[Any], ...], fields: Mapping[str, object]) -> bool:
    return any(
        isinstance(event, kinds) and all(getattr(event, name) == value for name, value in fields.items())
        for event in commit.events
    )


async def _newest(services: Services, outcome: Outcome[Case], answered: Commit[Any]) -> Outcome[Case]:
    """The outcome with what followed from it."""
    folded = await services.desk.load(outcome.folded.id)
    assert folded is not None
    return Outcome(folded, answered, repeated=outcome.repeated)


def number_only(folded: Folded[Case], caller: Caller, services: Services) -> CaseAnswer:
    """A case the caller may not see: which it is and how it stands, nothing else."""
    return Presenter(services.district(), caller, utc_now()).number(folded)


CASE_KIND: Kind[Case] = Kind(
    aggregate=CASE,
    projection=CASES,
    path="cases",
    title="Case",
    answer=CaseAnswer,
    show=_show,
    tell=_tell,
    change=_change,
    before=_before,
    after=_after,
    result=_result,
    result_type=CommandAnswer,
    lists_itself=False,
)
