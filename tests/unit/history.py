"""Random but lawful histories of cases: real commands through the real lifecycle, as commits in a ledger in memory."""

import asyncio
import random
from datetime import datetime, timedelta
from typing import Any

from hub.errors import InvalidInput
from hub.model.actors import SYSTEM, Actor, ActorKind
from hub.model.answers import Reached, Satisfied, Solved
from hub.model.assignments.state import AssignmentState, AttemptOutcome, DeadLetter
from hub.model.case import CASE
from hub.model.case import commands as c
from hub.model.case.events import MergeAsked
from hub.model.case.state import Case, CaseId, Channel, Severity
from hub.model.district.areas import AreaCode, UnitCode
from hub.model.policy.district import District
from hub.model.records import Attachment, Source
from hub.spine.ledger.desk import Desk
from hub.testing.memory import MemoryLedger
from tests.unit.api_world import Clock, new_case_id, person

_WORDS = ("路灯不亮", "下水道堵塞", "夜间噪声扰民", "燃气泄漏", "小区漏水", "占道经营", "电梯故障", "垃圾未清运")
_SHA = "ab" * 32


async def play(ledger: MemoryLedger, place: District, *, seed: int, cases: int, steps: int) -> None:
    """Put `cases` reports and about `steps` further commands into the ledger."""
    clock = Clock()
    desk = Desk(CASE, ledger, lambda: place.policy.rules, clock=clock)
    chance = random.Random(seed)
    grids = [area.code for area in place.areas if len(area.code) == 15]
    made: list[CaseId] = []
    for number in range(1, cases + 1):
        clock.at += timedelta(seconds=chance.randint(1, 300))
        id = new_case_id(chance.choice(grids), number)
        await desk.execute(id, _report(chance, number, AreaCode(id[:15]), clock.at), actor=SYSTEM)
        made.append(id)
    for _ in range(steps):
        clock.at += timedelta(seconds=chance.randint(1, 1200))
        id = chance.choice(made)
        folded = await desk.load(id)
        assert folded is not None
        command, actor = _step(chance, folded.state, made, place, clock.at)
        try:
            outcome = await desk.execute(id, command, actor=actor)
        except InvalidInput:
            continue
        for event in outcome.events:
            if isinstance(event, MergeAsked):
                await _answer(desk, id, event)


async def _answer(desk: Desk[Case, Any, Any], id: CaseId, asked: MergeAsked) -> None:
    """What reactions do about a merge."""
    try:
        await desk.execute(asked.into, c.Absorb(other=id, stamp=asked.stamp), actor=SYSTEM)
    except InvalidInput as problem:
        await desk.execute(id, c.RefuseMerge(into=asked.into, reason=problem.message), actor=SYSTEM)
    else:
        await desk.execute(id, c.FinishMerge(into=asked.into), actor=SYSTEM)


def play_now(ledger: MemoryLedger, place: District, *, seed: int, cases: int, steps: int) -> None:
    """The same, outside a loop."""
    asyncio.run(play(ledger, place, seed=seed, cases=cases, steps=steps))


def _report(chance: random.Random, number: int, area: AreaCode, at: datetime) -> c.Report:
    words = chance.choice(_WORDS)
    return c.Report(
        channel=chance.choice(list(Channel)),
        title=words,
        text=f"{words}，居民反映多日，请尽快处理。编号{number}",
        area=area,
        reported_at=at,
        place=chance.choice(("幸福家园3栋", "文苑路12号", None)),
        source=Source(adapter="hotline", ref=f"R{number}") if chance.random() < 0.3 else None,
        severity=chance.choice((None, *Severity)),
        contact_fields=("name", "phone") if chance.random() < 0.5 else (),
    )


def _step(chance: random.Random, case: Case, made: list[CaseId], place: District, at: datetime) -> tuple[c.Command, Actor]:
    holder = person(case.holder or place.code, place) if (case.holder or "").isdigit() else person(place.code, place)
    centre = person(place.code, place)
    waiting = [item for item in case.assignments if item.state in (AssignmentState.MADE, AssignmentState.SENDING)]
    if waiting and chance.random() < 0.8:
        return _delivery(chance, chance.choice(waiting).id, case, at), SYSTEM
    working = [item for item in case.assignments if item.state.open]
    if working and chance.random() < 0.7:
        item = chance.choice(working)
        actor = Actor(kind=ActorKind.DEPARTMENT, name=item.unit, unit=item.unit)
        options: tuple[c.Command, ...] = (
            c.Accept(assignment=item.id),
            c.Progress(assignment=item.id, note="正在抢修，缺少配件"),
            c.Resolve(
                assignment=item.id,
                note="已修复",
                attachments=(Attachment(name="现场.jpg", media_type="image/jpeg", size=3, sha256=_SHA),),
            ),
            c.Return(assignment=item.id, reason="不属本单位管辖"),
        )
        return chance.choice(options), actor
    options = (
        c.Claim(),
        c.Dispatch(),
        c.Dispatch(targets=(c.Target(unit=UnitCode("police")), c.Target(unit=UnitCode("water"), required=False))),
        c.Escalate(reason="需上级协调"),
        c.Settle(note="已劝导"),
        c.Comment(text="居民补充：夜间更严重"),
        c.Suspend(reason="等待许可", until=at + timedelta(days=1)),
        c.Resume(),
        c.Urge(message="请尽快"),
        c.Visit(reached=Reached.YES, solved=Solved.YES, satisfied=chance.choice(list(Satisfied))),
        c.CheckDeadlines(),
        c.Void(reason="测试"),
        c.Merge(into=chance.choice(made)),
        c.AccessContact(by="x", purpose="回访", fields=("phone",)),
    )
    command = chance.choice(options)
    if isinstance(command, c.CheckDeadlines | c.AccessContact):
        return command, SYSTEM
    return command, chance.choice((holder, centre))


def _delivery(chance: random.Random, id: str, case: Case, at: datetime) -> c.Command:
    item = case.assignment(id)
    assert item is not None
    if item.state is AssignmentState.MADE or item.attempts[-1].outcome is not AttemptOutcome.STARTED:
        return c.StartDelivery(assignment=id)
    number = len(item.attempts)
    letter = DeadLetter(
        event_id=f"{case.id}:deliver",
        subject="dispatch.x",
        attempts=number,
        first_at=at,
        last_at=at,
        error="unavailable",
        reason="503",
        adapter_version="1",
        payload_hash="00",
    )
    return chance.choice(
        (
            c.RecordDelivered(assignment=id, ticket=f"T-{case.id[-6:]}-{id}", attempt=number),
            c.RecordDelivered(assignment=id, ticket=f"T-{case.id[-6:]}-{id}", attempt=number),
            c.RecordFailed(assignment=id, attempt=number, error="unavailable", reason="503", retry_at=at),
            c.RecordRefused(assignment=id, attempt=number, reason="不受理"),
            c.RecordUncertain(assignment=id, attempt=number, reason="超时"),
            c.RecordDead(assignment=id, letter=letter),
        )
    )
