"""A second, tiny kind of matter: an errand somebody runs in an area. It holds limits; no line of the hub knows it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Annotated, Any

import msgspec
from sqlalchemy import BigInteger, Column, MetaData, String, Table, Text

from hub.model.actors import Actor
from hub.model.aggregate import NO_COMMANDS, Aggregate, Command, Commit, Event, Folded, MatterId
from hub.model.district.areas import AreaCode, Level, UnitCode
from hub.model.effects import Effect, React
from hub.model.forms import AreaRef, Form
from hub.model.limits import clock
from hub.model.limits import evolve as on_limits
from hub.model.limits.commands import CheckDeadlines
from hub.model.limits.deciding import LimitDeciding
from hub.model.limits.state import DeadlineKind, Limited
from hub.model.policy.rules import LadderAction, Limit, Rules, Step
from hub.model.rights import EVERYBODY
from hub.model.texts import CODE, Prose
from hub.surfaces.api.cases.present import actor_answer
from hub.surfaces.api.matters.kinds import Kind, Showing
from hub.surfaces.api.matters.models import TimelineItem
from hub.surfaces.api.people.auth import Caller
from hub.views.bulk import Row, row_of
from hub.views.projection import Projection
from hub.views.queries import TimelineEntry


class Errand(Limited, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """What is to be fetched, and whether it was."""

    id: MatterId
    area: AreaCode
    what: str
    remarks: int = 0
    urged: int = 0
    done: bool = False

    @property
    def ended(self) -> bool:
        return self.done

    @property
    def units(self) -> frozenset[str]:
        return frozenset()


class ErrandOpened(Event, frozen=True, tag="errand.opened"):
    what: str
    area: AreaCode


class ErrandRemarked(Event, frozen=True, tag="errand.remarked"):
    text: str


class ErrandDone(Event, frozen=True, tag="errand.done"):
    tell: MatterId | None = None


class OpenErrand(Command, frozen=True, tag="open"):
    """Send somebody."""

    form = Form(roles=EVERYBODY, example={"what": "钥匙", "area": "320113"})

    what: Prose
    area: AreaRef
    within_ms: int = 3_600_000


class Remark(Command, frozen=True, tag="remark"):
    """Say something about it."""

    form = Form(roles=EVERYBODY, example={"text": "在路上"})

    text: Prose


class Done(Command, frozen=True, tag="done"):
    """It is fetched; `into`: another errand that is to know."""

    form = Form(roles=EVERYBODY, example={})

    into: Annotated[MatterId, msgspec.Meta(max_length=48, extra=CODE)] | None = None


class ErrandDeciding(LimitDeciding[Errand]):
    """A decision about an errand."""

    __slots__ = ()
    kind = "errand"

    def at_work(self) -> Errand:
        return self.live()

    @property
    def steers(self) -> bool:
        return True

    @property
    def level(self) -> Level:
        return Level.GRID

    def policy_limit(self, kind: DeadlineKind) -> Limit | None:
        assert isinstance(self.command, OpenErrand)
        length = timedelta(milliseconds=self.command.within_ms)
        return Limit(kind=kind, duration=length, working=False, words=f"{self.command.within_ms} ms")

    def ladder(self) -> tuple[Step, ...]:
        return (Step(action=LadderAction.URGE, after=timedelta(0)),)


def decide(
    errand: Errand | None, command: Command, *, actor: Actor, rules: Rules, now: datetime, id: MatterId
) -> tuple[Event, ...]:
    d = ErrandDeciding(evolve, errand, id, command, actor=actor, rules=rules, now=now)
    match command:
        case OpenErrand():
            if d.exists:
                d.refuse("it was opened already")
            d.emit(ErrandOpened(what=d.text("what", command.what), area=command.area))
            clock.set_limit(d, DeadlineKind.FINISH, UnitCode(command.area))
        case Remark():
            d.emit(ErrandRemarked(text=d.text("text", command.text)))
        case Done():
            d.live()
            d.emit(ErrandDone(tell=command.into))
        case _:
            clock.DECIDES[type(command)](d, command)
    return tuple(d.events)


def evolve(errand: Errand | None, event: Event, *, at: datetime, id: MatterId) -> Errand:
    if isinstance(event, ErrandOpened):
        return Errand(id=id, area=event.area, what=event.what)
    assert errand is not None
    match event:
        case ErrandRemarked():
            return msgspec.structs.replace(errand, remarks=errand.remarks + 1)
        case ErrandDone():
            return msgspec.structs.replace(errand, done=True, deadlines=())
    after: Errand = on_limits.EVOLVES[type(event)](errand, event, at)
    return msgspec.structs.replace(after, urged=after.urged + 1) if event.__struct_config__.tag == "work.urged" else after


def effects(commit: Commit[Event], errand: Errand) -> Iterator[Effect]:
    for place, event in enumerate(commit.events):
        if isinstance(event, ErrandDone) and event.tell is not None:
            yield React(event=place, to=event.tell, command=Remark(text=f"{errand.what} is there"))


ERRAND: Aggregate[Errand, Command, Event] = Aggregate(
    name="errand",
    mark="e",
    state=Errand,
    commands=(OpenErrand, Remark, Done, *clock.DECIDES),
    events=(ErrandOpened, ErrandRemarked, ErrandDone, *on_limits.EVOLVES),
    opens=(OpenErrand,),
    decide=decide,
    evolve=evolve,
    next_due=lambda errand: errand.next_due,
    wake=CheckDeadlines(),
    effects=effects,
    effectful=(ErrandDone,),
)

TABLE = Table(
    "errands",
    MetaData(),
    Column("opened", BigInteger, primary_key=True, autoincrement=False),
    Column("id", String(48), nullable=False, unique=True),
    Column("area", String(15), nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("doc", Text, nullable=False),
)


ErrandRow = row_of(TABLE)


def row(folded: Folded[Errand], opened: int, updated_at: int) -> Row:
    doc = msgspec.json.encode(msgspec.structs.replace(folded, commands=NO_COMMANDS)).decode()
    return ErrandRow(opened=opened, id=folded.id, area=folded.state.area, updated_at=updated_at, doc=doc)


def words(_commit: Commit[Any], event: Event) -> str | None:
    return event.what if isinstance(event, ErrandOpened) else None


ERRANDS: Projection[Errand] = Projection(
    aggregate=ERRAND, version=1, table=TABLE, row=row, decode=msgspec.json.Decoder(Folded[Errand]).decode, words=words
)


class ErrandAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """An errand."""

    id: str
    what: str
    done: bool
    remarks: int
    urged: int


def show(_here: Showing, folded: Folded[Errand], _updated_at: datetime | None) -> ErrandAnswer:
    state = folded.state
    return ErrandAnswer(id=state.id, what=state.what, done=state.done, remarks=state.remarks, urged=state.urged)


def tell(_here: Showing, _folded: Folded[Errand], story: tuple[TimelineEntry, ...]) -> list[TimelineItem]:
    return [
        TimelineItem(
            sequence=entry.sequence,
            number=entry.number,
            at=entry.at,
            event=entry.event,
            command=entry.command,
            policy=entry.policy,
            actor=actor_answer(entry.actor),
            body=entry.body,
            traceparent=entry.traceparent,
        )
        for entry in story
    ]


def change(errand: Errand, _caller: Caller) -> dict[str, object]:
    return {"what": errand.what, "done": errand.done}


ERRAND_KIND: Kind[Errand] = Kind(
    aggregate=ERRAND,
    projection=ERRANDS,
    path="errands",
    title="Errand",
    answer=ErrandAnswer,
    show=show,
    tell=tell,
    change=change,
)
