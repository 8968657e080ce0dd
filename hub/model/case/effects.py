"""Effects of a case's commit outside the case: departments, the sources, other cases, the vault. Pure. Called by linkage."""

from __future__ import annotations

from collections.abc import Iterator

from hub.model.actors import SYSTEM
from hub.model.aggregate import Command, Commit, Event
from hub.model.assignments.effects import EFFECTFUL as OF_ASSIGNMENTS
from hub.model.assignments.effects import told_departments
from hub.model.case import commands as c
from hub.model.case import events as e
from hub.model.case.state import Case
from hub.model.effects import Call, Effect, Inform, React
from hub.model.records import ASKS_ITSELF, Source
from hub.model.words import NOTICES

ERASURE = "erasure"
"""The procedure that destroys a reporter's contact and the files that came with the report."""

EFFECTFUL: tuple[type[Event], ...] = (
    *OF_ASSIGNMENTS,
    e.CaseAbsorbed,
    e.CaseClosed,
    e.CaseReopened,
    e.CaseReported,
    e.CaseResolved,
    e.CaseVoided,
    e.ContactErased,
    e.MergeAsked,
    e.PassedOn,
    e.ReportAttached,
)
"""The events that can have effects."""


def effects(commit: Commit[Event], case: Case) -> Iterator[Effect]:
    """What follows from a commit; `case` is its state then or later."""
    yield from told_departments(commit.events, case)
    goes_on_elsewhere = any(isinstance(event, e.PassedOn) for event in commit.events)
    for place, event in enumerate(commit.events):
        match event:
            case e.CaseReported(source=Source() as source) | e.ReportAttached(source=Source() as source):
                if not goes_on_elsewhere and not source.adapter.startswith(ASKS_ITSELF):
                    yield Inform(event=place, stage="taken", text=NOTICES["taken"], only=(source.adapter, source.ref))
            case e.CaseResolved():
                yield Inform(event=place, stage="resolved", text=NOTICES["resolved"])
            case e.CaseClosed():
                yield Inform(event=place, stage="closed", text=NOTICES["closed"])
            case e.CaseVoided():
                yield Inform(event=place, stage="void", text=NOTICES["void"])
            case e.CaseReopened():
                yield Inform(event=place, stage="reopened", text=NOTICES["reopened"])
            case e.MergeAsked(into=into, stamp=stamp):
                others = tuple(id for id in case.absorbed if id != into)
                yield React(
                    event=place,
                    to=into,
                    command=c.Absorb(other=case.id, stamp=stamp, others=others),
                    refused=c.RefuseMerge(into=into),
                )
            case e.CaseAbsorbed(other=other):
                yield React(event=place, to=other, command=c.FinishMerge(into=case.id))
            case e.ContactErased():
                yield Call(event=place, procedure=ERASURE)
            case e.PassedOn(to=to):
                for said in commit.events:
                    if (command := _passed_on(commit, said, case)) is not None:
                        yield React(event=place, to=to, command=command)


def _passed_on(commit: Commit[Event], event: Event, case: Case) -> Command | None:
    """A remark on a merged case goes to the case that goes on, and so to its holder."""
    match event:
        case e.Commented(text=text) if commit.actor == SYSTEM:
            return c.Comment(text=text)  # it came from a case merged into this one, and says whose it is
        case e.Commented(text=text):
            return c.Comment(text=f"（{commit.actor.name} 在已并入的 {case.id} 上留言）{text}")
        case e.Attached(attachment=attachment, note=note):
            return c.Attach(attachment=attachment, note=note)
        case e.ReportAttached():
            return c.AttachReport(
                channel=event.channel,
                text=event.text,
                area=event.area,
                reported_at=event.reported_at,
                place=event.place,
                position=event.position,
                wgs84=event.wgs84,
                source=event.source,
            )
    return None
