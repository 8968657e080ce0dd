"""A plugin mount's rights in the hub: `Reception` and `Visitor` of the contract, over the services of the interface.

Rights, scopes and sensitive cases are guarded here, whatever a mount does. The desk and intake do its writes.
"""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta

import msgspec
from starlette.types import Scope

from hub.contract import DistrictFacts, Filed, IncomingCase, News, Publishing, ReportedFile, ShownCase
from hub.errors import InvalidInput, NotAllowed, Unavailable
from hub.model.actors import Actor, ActorKind
from hub.model.aggregate import Command, Folded
from hub.model.answers import Reached, Satisfied, Solved
from hub.model.assignments.state import Role
from hub.model.case.commands import Comment, Reopen, Visit
from hub.model.case.state import Case, CaseId, Stage, parse_case_id
from hub.model.district.areas import within
from hub.model.limits.state import DeadlineKind
from hub.model.positions import from_afar
from hub.model.records import ASKS_ITSELF, Attachment
from hub.model.rights import KeyScope
from hub.model.texts import MOST_PROSE
from hub.model.words import NEWS, STANDINGS
from hub.platform.adapters import soundness
from hub.privacy.masks import mask_text
from hub.spine.ways_in.intake import EntryFile, entry_of
from hub.surfaces.api.answers import WAIT, told_on
from hub.surfaces.api.cases.files import MOST, media_type_of, safe_name
from hub.surfaces.api.limits import CALLER_KEY, Allowance
from hub.surfaces.api.mounts.published import RESULT, Happened, Known, Published
from hub.surfaces.api.people.auth import Caller, caller_from
from hub.surfaces.api.services import Services

ANONYMOUS = "anonymous"
"""What visitors without a key are called in the source of a case."""
_NOTED = ("assignment.progressed", "case.resolved")
"""Events whose note tells what was done. Readers of the case get the note."""


class MountReception:
    """The hub as one mount sees it."""

    def __init__(self, services: Services, name: str) -> None:
        self.services = services
        self.name = name
        self.source = f"{ASKS_ITSELF}{name}"
        self._written = 0

    @property
    def public_url(self) -> str | None:
        """As in the settings."""
        return self.services.settings.public_url

    def district(self) -> DistrictFacts:
        """The district under the rules in force now."""
        return DistrictFacts(self.services.district())

    async def rules_since(self) -> datetime:
        """When the rules in force were published; now, of those that never were."""
        version = self.services.district().policy.version
        published = [record.at for record in await self.services.ledger.policies() if record.version == version]
        return published[-1] if published else datetime.now(UTC)

    async def visitor(self, scope: Scope, key: str | None, publishing: Publishing) -> MountVisitor | None:
        """Who sends the request; None when the key is not valid."""
        if not key:
            return MountVisitor(self, None, publishing)
        token = await self.services.tokens.find(key)
        if token is None:
            return None
        scope[CALLER_KEY] = token.id
        return MountVisitor(self, caller_from(token, self.services.district()), publishing)

    def allowance(self, per_minute: int) -> Callable[[str], float]:
        """A bucket for each name."""
        return Allowance(per_minute, time.monotonic).take

    def wrote(self, sequence: int) -> None:
        """Note the mount's last write, so that its readers wait for it."""
        self._written = max(self._written, sequence)

    async def settle(self) -> None:
        """Wait for everything written at this mount. Raises Unavailable when the read models don't hold it within WAIT seconds."""
        if self._written and not await self.services.views.wait_for(self._written, WAIT):
            raise Unavailable("what was reported last can't be shown yet", retry_after=timedelta(seconds=1))


class MountVisitor:
    """One who sends requests to a mount; `caller` None: without a key."""

    def __init__(self, reception: MountReception, caller: Caller | None, publishing: Publishing) -> None:
        self._reception = reception
        self._services = reception.services
        self._caller = caller
        self._published = Published(
            self._services.views,
            publishing,
            reception.source,
            f"{self.id}/",
            caller.scope if caller is not None and self.may(KeyScope.CASES_READ) else None,
        )

    @property
    def id(self) -> str:
        """The key's own id."""
        return ANONYMOUS if self._caller is None else self._caller.token.id

    @property
    def keyed(self) -> bool:
        """Whether there is a key."""
        return self._caller is not None

    @property
    def area(self) -> str | None:
        """The part of the district the key is limited to."""
        return None if self._caller is None else self._caller.scope.area

    def may(self, right: str) -> bool:
        """Whether the key has a scope."""
        return self._caller is not None and right in self._caller.rights

    def covers(self, area: str) -> bool:
        """Whether an area lies where the key is for."""
        return self.area is None or within(area, self.area)

    async def report(self, case: IncomingCase, files: Sequence[ReportedFile] = ()) -> Filed:
        """Open one case for a `ref`, or join the report to one."""
        if self._caller is not None and not self.may(KeyScope.CASES_REPORT):
            raise NotAllowed("the key may not report")
        checked = _checked(case)
        entry = entry_of(self._reception.source, msgspec.structs.replace(checked, ref=f"{self.id}/{checked.ref}"))
        actor = self._system(ANONYMOUS) if self._caller is None else self._caller.actor
        outcome = await self._services.intake.report(dataclasses.replace(entry, files=tuple(map(_taken, files))), actor=actor)
        self._reception.wrote(outcome.sequence)
        return Filed(case=outcome.folded.id, attached=outcome.attached)

    async def case_of(self, ref: str) -> str | None:
        """The case a ref of this visitor became or joined."""
        await self._reception.settle()
        return await self._services.views.case_of_source(self._reception.source, f"{self.id}/{ref}")

    async def cases(self, ids: Sequence[str]) -> list[ShownCase]:
        """Those that may be asked for, in this order."""
        await self._reception.settle()
        return self._shown(await self._published.several([id for id in ids if _is_case(id)]))

    async def search(
        self,
        *,
        since: datetime,
        until: datetime,
        stages: Sequence[Stage] = (),
        categories: Sequence[str] = (),
        size: int,
        offset: int = 0,
    ) -> list[ShownCase]:
        """Cases that may be listed, newest first."""
        await self._reception.settle()
        return self._shown(await self._published.search(since, until, stages, categories, size, offset))

    async def news(self, *, since: datetime, until: datetime, size: int, offset: int = 0) -> list[News]:
        """What happened, oldest first."""
        await self._reception.settle()
        return list(self._news(await self._published.happened(since, until, size, offset)))

    async def comment(self, case: str, key: str, text: str) -> None:
        """Put a remark on a case, once."""
        folded, command = await self._asked_for(case, key)
        if command not in folded.commands:
            await self._do(folded, Comment(text=_remark(text)), command)

    async def judge(self, case: str, key: str, *, solved: Solved, satisfied: Satisfied | None = None, note: str) -> bool:
        """Take the reporter's word on the result, once."""
        if not isinstance(solved, Solved):
            raise InvalidInput(f"one of {', '.join(Solved)}", subject="solved")
        if satisfied is not None and not isinstance(satisfied, Satisfied):
            raise InvalidInput(f"one of {', '.join(Satisfied)}", subject="satisfied")
        folded, command = await self._asked_for(case, key)
        if command in folded.commands:
            return True
        reopens = self._services.district().policy.reopens(solved, satisfied)
        said = Visit(reached=Reached.YES, solved=solved, satisfied=satisfied, note=_remark(note))
        word = _word(folded.state.stage, said, reopens=reopens) if self._brought(folded.state) else None
        if word is None:
            return False
        await self._do(folded, word, command)
        return True

    async def _asked_for(self, case: str, key: str) -> tuple[Folded[Case], str]:
        """(a case that this visitor may speak of, the id of its command under a key); raises NotAllowed."""
        if not self.may(KeyScope.CASES_REPORT) or not await self.cases((case,)):
            raise NotAllowed("no such case", subject=case)
        folded = await self._services.desk.load(CaseId(case))
        if folded is None:
            raise NotAllowed("no such case", subject=case)
        return folded, hashlib.sha256(f"{self.id}\n{case}\n{key}".encode()).hexdigest()[:32]

    async def _do(self, folded: Folded[Case], command: Command, id: str) -> None:
        name = ANONYMOUS if self._caller is None else self._caller.token.name
        try:
            outcome = await self._services.desk.execute(
                folded.id, command, actor=self._system(name), command_id=id, cause=folded.last_trace
            )
        except InvalidInput as problem:
            if problem.subject != "Idempotency-Key":
                raise  # two at once under one key are not an error: the first is in
            return
        self._reception.wrote(outcome.sequence)
        await told_on(self._services, outcome)

    def _system(self, name: str) -> Actor:
        """The mount speaks for somebody the hub does not know as a person."""
        return Actor(kind=ActorKind.SYSTEM, name=f"{self._reception.name} {name}")

    def _came_here(self, case: Case) -> bool:
        return case.source is not None and case.source.adapter == self._reception.source

    def _brought(self, case: Case) -> bool:
        """Whether the case was reported with this very key."""
        mine = case.source is not None and case.source.ref.startswith(self._published.own)
        return self.keyed and mine and self._came_here(case)

    def _reads(self, case: Case) -> bool:
        """Whether everything written about the case is for this visitor: it brought the case in, or its key may see it."""
        return self._brought(case) or (
            self._caller is not None and self._published.scope is not None and self._caller.sees(case)
        )

    def _locates(self, case: Case) -> bool:
        """Whether the exact place is for this visitor: it brought the case in, or its key's unit handles it."""
        return self._brought(case) or (self._caller is not None and self._reads(case) and self._caller.handles(case))

    def _withheld(self, case: Case) -> bool:
        """Whether text and place are withheld: of sensitive cases, and of cases reported elsewhere."""
        if self._reads(case):
            return False
        return self._published.sensitive(case) or not (self._published.publishing.everything or self._came_here(case))

    def _shown(self, found: Iterable[Known]) -> list[ShownCase]:
        district, shown = self._services.district(), []
        for case, updated_at in ((known.case, known.updated_at) for known in found):
            withheld, exact, resolved = self._withheld(case), self._locates(case), case.stage is Stage.RESOLVED
            lead = next((item.unit for item in case.assignments if item.role is Role.LEAD and item.state.open), case.holder)
            unit = district.directory.get(lead) if lead is not None else None
            due = next((limit.due_at for limit in case.deadlines if limit.kind is DeadlineKind.RESOLVE), None)
            shown.append(
                ShownCase(
                    id=case.id,
                    stage=case.stage,
                    said=_standing(case),
                    category=case.category,
                    area=case.area,
                    area_path=district.areas.path(case.area),
                    text=None if withheld else case.text,
                    place=None if withheld else case.place,
                    wgs84=None if withheld else case.wgs84 if exact else from_afar(case.wgs84)[1],
                    exact=exact,
                    agency=None if unit is None else unit.name,
                    reported_at=case.reported_at,
                    changed_at=(case.resolved_at if resolved else None) or case.closed_at or updated_at,
                    due_at=None if resolved or case.stage.ended else due,
                )
            )
        return shown

    def _news(self, happened: Sequence[Happened]) -> Iterator[News]:
        """One for each kind of event in a commit, in the hub's words; in the unit's own where the visitor may read them."""
        results: dict[tuple[str, int], list[str]] = {}
        for item in happened:
            if item.event == RESULT and (note := _note(item)):
                results.setdefault((item.case.id, item.number), []).append(note)
        told: set[tuple[str, int, str]] = set()
        for item in happened:
            same = (item.case.id, item.number, item.event)
            if item.event == RESULT or same in told or (item.event == "case.held" and item.body.get("cause") != "triage"):
                continue
            told.add(same)
            said: Sequence[str] = ()
            if item.event in _NOTED and self._reads(item.case):
                said = (_note(item),) if _note(item) else results.get((item.case.id, item.number), ())
            yield News(
                id=f"{item.case.id}.{item.number}.{item.ordinal}",
                kind=item.event,
                case=item.case.id,
                at=item.at,
                text="；".join(said) or NEWS[item.event],
            )


def _checked(case: IncomingCase) -> IncomingCase:
    """The report as the contract bounds it; raises InvalidInput naming the field."""
    try:
        found = soundness.item(case, datetime.now(UTC))
    except ValueError as problem:
        raise InvalidInput(str(problem), subject="report") from problem
    assert isinstance(found, IncomingCase)
    return found


def _remark(text: str) -> str:
    """What a client writes as a remark, masked; raises InvalidInput for more than a remark holds."""
    if not isinstance(text, str) or len(text) > MOST_PROSE:
        raise InvalidInput(f"at most {MOST_PROSE} characters", subject="text")
    return mask_text(text)


def _taken(file: ReportedFile) -> EntryFile:
    """A file as it may be kept; raises InvalidInput."""
    kind = media_type_of(file.content) if file.content else None
    if kind is None or len(file.content) > MOST:
        raise InvalidInput(f"a file sent along is no picture, recording, PDF or text of at most {MOST} bytes", subject="files")
    digest = hashlib.sha256(file.content).hexdigest()
    return EntryFile(
        Attachment(name=safe_name(file.name), media_type=kind, size=len(file.content), sha256=digest), file.content
    )


def _is_case(id: str) -> bool:
    try:
        return bool(parse_case_id(id))
    except ValueError:
        return False


def _note(item: Happened) -> str:
    note = item.body.get("note")
    return note if isinstance(note, str) else ""


def _word(stage: Stage, said: Visit, *, reopens: bool) -> Command | None:
    """What the reporter's word comes to; None: it is only a remark."""
    if stage is Stage.RESOLVED:
        return said
    return Reopen(reason=said.note or "") if stage is Stage.CLOSED and reopens else None


def _standing(case: Case) -> str:
    """How a case stands, as a sentence."""
    if case.suspended_at is not None and not case.stage.ended:
        return STANDINGS["suspended"]
    if case.merged_into is not None:
        return f"{STANDINGS['merged']}编号：{case.merged_into}"
    if case.reopened and case.stage in (Stage.HELD, Stage.DISPATCHED):
        return STANDINGS["reopened"]
    return STANDINGS[case.stage]
