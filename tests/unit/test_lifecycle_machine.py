"""Random commands against the lifecycle: no illegal state, nothing open without owner and limit, nothing lost."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec.structs import replace

from hub.errors import InvalidInput, Undecided
from hub.model.actors import SYSTEM, Actor
from hub.model.answers import Closing, Reached, Satisfied, Solved
from hub.model.assignments.state import AssignmentState, AttemptOutcome, DeadLetter, Role
from hub.model.case import commands as c
from hub.model.case import events as e
from hub.model.case.decide import decide
from hub.model.case.state import Case, CaseId, Channel, Severity, Stage
from hub.model.limits.state import DeadlineKind
from hub.model.records import Attachment, Source
from tests.unit.case_play import Play
from tests.unit.fake_rules import (
    COMMUNITY,
    DEPARTMENTS,
    DISTRICT,
    GAS,
    GRID,
    LAMP,
    NOISE,
    OTHER_COMMUNITY,
    OTHER_GRID,
    SEWER,
    STREET,
    FakeRules,
    department,
    person,
)

S = AssignmentState
RANK = [S.MADE, S.SENDING, S.DELIVERED, S.ACCEPTED, S.IN_PROGRESS, S.RESOLVED]
REPORTS = ("accept", "progress", "resolve", "return", "record_delivered")

ids = st.sampled_from(["a1", "a1", "a1", "a2", "a2", "a3", "a4", "a9"])
units = st.sampled_from([*DEPARTMENTS, COMMUNITY, OTHER_GRID, "nobody"])
reasons = st.sampled_from(["因为", "因为", "因为", "因为", " "])
notes = st.sampled_from(["到场", "完成", None])
tickets = st.sampled_from(["T-1", "T-1", "T-2"])
attempts = st.integers(1, 3)
hours = st.sampled_from([-1, 1, 5, 30, 200])
kinds = st.sampled_from(DeadlineKind)
areas = st.sampled_from([GRID, OTHER_GRID, COMMUNITY, OTHER_COMMUNITY, DISTRICT])
categories = st.sampled_from([LAMP, NOISE, SEWER, GAS, "none"])
other = CaseId("320113001001001-zzzzzzzzzzzz")
holders = [person(GRID), person(COMMUNITY), person(STREET), person(DISTRICT), person(DISTRICT), SYSTEM]
outsiders = [person(OTHER_GRID), person("police"), department("police"), department("gas"), person("water")]
actors = st.one_of(st.sampled_from(holders), st.sampled_from(holders), st.sampled_from(outsiders))
file = Attachment(name="a.jpg", media_type="image/jpeg", size=3, sha256="0" * 64)
FAR = datetime(2026, 12, 1, tzinfo=UTC)


def letter(at: datetime) -> DeadLetter:
    return DeadLetter(
        event_id="x", subject="dispatch.police.x", attempts=3, first_at=at, last_at=at, error="unavailable", reason="503",
        adapter_version="1", payload_hash="0" * 64,
    )  # fmt: skip


def some(kind: type[Any], /, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.builds(kind, **fields)


optional_ids = st.one_of(st.none(), ids)
targets = st.lists(some(c.Target, unit=units, role=st.sampled_from(Role), required=st.booleans()), max_size=3).map(tuple)

courses = st.one_of(
    some(
        c.Triage,
        category=st.one_of(st.none(), categories),
        severity=st.one_of(st.none(), st.sampled_from(Severity)),
        area=st.one_of(st.none(), areas),
    ),
    some(c.Claim, note=notes),
    some(c.Dispatch, targets=targets),
    some(c.Dispatch),
    some(c.Escalate, reason=reasons),
    some(c.Delegate, reason=reasons, unit=st.one_of(st.none(), units)),
    some(c.Settle, note=reasons),
    some(c.Reassign, assignment=ids, unit=units, reason=reasons),
    some(c.Recall, assignment=ids, reason=reasons),
    some(c.Urge, message=reasons, assignment=optional_ids),
    some(c.Supervise, message=reasons, assignment=optional_ids),
    some(c.Comment, text=reasons),
    some(c.Attach, attachment=st.just(file)),
    some(c.AccessContact, by=reasons, purpose=reasons, fields=st.just(("name",))),
    some(c.EraseContact, reason=reasons),
    some(c.Absorb, other=st.just(other), stamp=st.just(FAR)),
    some(c.RefuseMerge, into=st.just(other), reason=reasons),
)
endings = st.one_of(
    some(c.Void, reason=reasons),
    some(c.Merge, into=st.sampled_from([other, CaseId("nonsense")])),
    some(c.FinishMerge, into=st.just(other)),
    some(c.Close, reason=reasons),
    some(c.Reopen, reason=reasons),
)
visits = st.one_of(
    some(
        c.Visit,
        reached=st.sampled_from(Reached),
        tries=st.sampled_from([0, 1, 2, 3]),
        solved=st.one_of(st.none(), st.sampled_from(Solved)),
        satisfied=st.one_of(st.none(), st.sampled_from(Satisfied)),
        rating=st.sampled_from([None, 0, 1, 3, 5]),
    ),
    some(c.Close, reason=reasons, kind=st.one_of(st.none(), st.sampled_from(Closing))),
    some(c.Check, solved=st.sampled_from(Solved), note=notes),
    some(c.Reopen, reason=reasons),
)
said = st.one_of(
    some(c.Accept, assignment=ids, note=notes),
    some(c.Progress, assignment=ids, note=reasons),
    some(c.Resolve, assignment=ids, note=notes),
    some(c.Resolve, assignment=ids, note=notes),
    some(c.Return, assignment=ids, reason=reasons),
)
sent = st.one_of(
    some(c.StartDelivery, assignment=ids),
    some(c.StartDelivery, assignment=ids),
    some(c.RecordDelivered, assignment=ids, ticket=tickets, attempt=st.one_of(st.none(), attempts)),
    some(
        c.RecordFailed,
        assignment=ids,
        attempt=attempts,
        error=st.sampled_from(["unavailable", "credentials_rejected"]),
        reason=reasons,
        unknown=st.booleans(),
    ),
    some(c.RecordRefused, assignment=ids, attempt=attempts, reason=reasons),
    some(c.RecordUncertain, assignment=ids, attempt=attempts, reason=reasons),
    some(c.RecordDead, assignment=ids, letter=st.just(letter(FAR))),
    some(
        c.RecordEffect, effect=st.just("recall:a1"), adapter=st.just("police"), error=st.one_of(st.none(), st.just("refused"))
    ),
    some(c.Resend, assignment=ids, reason=reasons),
    some(c.Drop, assignment=ids, reason=reasons),
)


class LifecycleMachine(RuleBasedStateMachine):
    """One case; every step checks what must always hold."""

    def __init__(self) -> None:
        super().__init__()
        self.play = Play()
        self.earlier = 0
        """How many assignments were made before the case was reopened."""
        self.timer: datetime | None = None
        self.heard = 0
        """How many commits linkage has come to."""

    @property
    def case(self) -> Case:
        return self.play.case

    @initialize(
        category=st.sampled_from([LAMP, NOISE, SEWER, GAS]),
        area=areas,
        contact=st.booleans(),
        visits=st.booleans(),
        start=st.sampled_from(["reported", "reported", "resolved", "reopened"]),
    )
    def reported(self, category: str, area: str, contact: bool, visits: bool, start: str) -> None:
        """Some cases begin late in their life, for chance alone seldom leads there."""
        self.play = Play(FakeRules(visits=visits))
        self.play.report(category, area=area, contact_fields=("name",) if contact else (), duplicate_of=other)
        if start == "reported":
            return
        if self.at(Stage.HELD):
            self.attempt(c.Dispatch(), SYSTEM)
        for item in self.case.assignments:
            self.attempt(c.Resolve(assignment=item.id), SYSTEM)
        if start == "reopened":
            self.attempt(c.Visit(reached=Reached.YES, satisfied=Satisfied.NO) if visits else c.Reopen(reason="没修好"), SYSTEM)
            assert self.case.reopened == 1

    def at(self, *stages: Stage) -> bool:
        return self.play.folded_now is not None and self.case.stage in stages

    def attempt(self, command: c.Command, actor: Actor) -> None:
        """Give a command; a refusal names what it must and changes nothing."""
        play, before = self.play, self.play.case
        commits = len(play.commits)
        refused, first = self.decided(command, actor)
        if refused is not None:
            assert refused.message
            assert refused.subject
            with pytest.raises(type(refused), match=re.escape(refused.message)):
                play.do(command, actor)
            assert play.case is before
            assert len(play.commits) == commits
            return
        assert play.do(command, actor) == first
        if not first:
            assert play.case is before
            return
        self.check_step(before, command, first)

    def decided(self, command: c.Command, actor: Actor) -> tuple[InvalidInput | Undecided | None, tuple[e.Event, ...]]:
        try:
            return None, decide(self.case, command, actor=actor, rules=self.play.rules, now=self.play.now, id=self.play.id)
        except (InvalidInput, Undecided) as problem:
            return problem, ()

    def check_step(self, before: Case, command: c.Command, events: tuple[e.Event, ...]) -> None:
        """What must hold between two states."""
        after = self.case
        assert [item.id for item in after.assignments][: len(before.assignments)] == [item.id for item in before.assignments]
        assert len(self.play.envelope.commands) == len(self.play.commits)
        for item in before.assignments:
            now = after.assignment(item.id)
            assert now is not None
            assert len(now.attempts) >= len(item.attempts)
            assert item.ticket is None or now.ticket is not None
            assert now.accepted_at is not None or item.accepted_at is None
            if str(command.__struct_config__.tag) in REPORTS:
                if item.state in RANK and now.state in RANK:
                    assert RANK.index(now.state) >= RANK.index(item.state), "a report moved an assignment backwards"
                if not item.state.open:
                    assert now.state is item.state
        if before.stage.ended:
            assert after.stage is before.stage or isinstance(command, c.Reopen)
        if isinstance(command, c.Visit | c.Reopen) and after.reopened > before.reopened:
            self.earlier = len(after.assignments)
        if after.stage is Stage.RESOLVED and before.stage is not Stage.RESOLVED and not isinstance(command, c.Settle):
            self.check_join(after)
        assert after.reopened <= 1
        assert after.visited_levels[: len(before.visited_levels)] == before.visited_levels
        if (
            before.level is not None
            and after.level is not None
            and isinstance(command, c.Escalate | c.Delegate | c.CheckDeadlines)
        ):
            assert abs(after.level - before.level) <= 1

    def aimed(self, command: Any, index: int) -> Any:
        """The command about an assignment (and its last attempt) that exists, if any does."""
        if not self.case.assignments or not hasattr(command, "assignment"):
            return command
        found = self.case.assignments[index % len(self.case.assignments)]
        changes: dict[str, Any] = {"assignment": found.id}
        if getattr(command, "attempt", None) == 1 and found.attempts:
            changes["attempt"] = found.attempts[-1].number
        return replace(command, **changes)

    def check_join(self, case: Case) -> None:
        """Resolved by its units: a lead of this round is done, and whatever had to be done is, or was given up or replaced."""
        current = case.assignments[self.earlier :]
        assert any(item.role is Role.LEAD and item.state is S.RESOLVED for item in current)
        for index, item in enumerate(current):
            if item.role is Role.LEAD or item.required:
                replaced = any(later.role in (Role.LEAD, item.role) for later in current[index + 1 :])
                assert item.state in (S.RESOLVED, S.RECALLED, S.DROPPED) or (item.state in (S.RETURNED, S.REFUSED) and replaced)

    # --- rules: what should happen to a case, in its order ---

    @rule(command=courses, actor=st.sampled_from(holders))
    def steered_by_those_who_may(self, command: c.Command, actor: Actor) -> None:
        self.attempt(command, actor)

    @precondition(lambda self: self.at(Stage.HELD))
    @rule(command=st.one_of(some(c.Dispatch), some(c.Dispatch, targets=targets), some(c.Settle, note=reasons)))
    def taken_up(self, command: c.Command) -> None:
        self.attempt(command, SYSTEM)

    @precondition(lambda self: self.at(Stage.DISPATCHED))
    @rule(command=sent, index=st.integers(0, 5))
    def sent_anyhow(self, command: c.Command, index: int) -> None:
        self.attempt(self.aimed(command, index), SYSTEM)

    @precondition(lambda self: self.at(Stage.DISPATCHED))
    @rule(index=st.integers(0, 5), ticket=tickets)
    def sent_well(self, index: int, ticket: str) -> None:
        self.attempt(self.aimed(c.StartDelivery(assignment=""), index), SYSTEM)
        self.attempt(self.aimed(c.RecordDelivered(assignment="", ticket=ticket), index), SYSTEM)

    @precondition(lambda self: self.at(Stage.DISPATCHED))
    @rule(index=st.integers(0, 5), ending=st.sampled_from(["refused", "uncertain", "dead", "failed"]), unknown=st.booleans())
    def sent_badly(self, index: int, ending: str, unknown: bool) -> None:
        self.attempt(self.aimed(c.StartDelivery(assignment=""), index), SYSTEM)
        commands: dict[str, c.Command] = {
            "refused": c.RecordRefused(assignment="", attempt=1, reason="不收"),
            "uncertain": c.RecordUncertain(assignment="", attempt=1, reason="不明"),
            "failed": c.RecordFailed(assignment="", attempt=1, error="unavailable", reason="503", unknown=unknown),
            "dead": c.RecordFailed(assignment="", attempt=1, error="unavailable", reason="503", unknown=unknown),
        }
        self.attempt(self.aimed(commands[ending], index), SYSTEM)
        if ending == "dead":
            self.attempt(self.aimed(c.RecordDead(assignment="", letter=letter(FAR)), index), SYSTEM)

    @precondition(lambda self: self.at(*Stage) and self.case.attention)
    @rule(
        command=st.one_of(some(c.Resend, assignment=ids, reason=reasons), some(c.Drop, assignment=ids, reason=reasons)),
        index=st.integers(0, 5),
    )
    def looked_at_by_an_operator(self, command: c.Command, index: int) -> None:
        self.attempt(self.aimed(command, index), person(DISTRICT))

    @precondition(lambda self: self.at(*Stage) and self.case.assignments)
    @rule(command=said, index=st.integers(0, 5))
    def said_by_its_unit(self, command: Any, index: int) -> None:
        aimed = self.aimed(command, index)
        found = self.case.assignment(aimed.assignment)
        self.attempt(aimed, SYSTEM if found is None else department(found.unit))

    @precondition(lambda self: self.at(Stage.RESOLVED, Stage.CLOSED))
    @rule(command=visits, actor=st.sampled_from(holders))
    def visited(self, command: c.Command, actor: Actor) -> None:
        self.attempt(command, actor)

    @precondition(lambda self: self.at(*Stage) and (self.case.asked or self.case.suspended_at))
    @rule(answer=st.sampled_from(["yes", "no", "resume"]), actor=st.sampled_from(holders))
    def answered(self, answer: str, actor: Actor) -> None:
        if answer == "resume":
            self.attempt(c.Resume(reason="料到"), actor)
        elif self.case.asked:
            request = self.case.asked[0].id
            self.attempt(c.Approve(request=request) if answer == "yes" else c.Decline(request=request, reason="不同意"), actor)

    @rule(minutes=st.sampled_from([1, 30, 300, 3000]), check=st.booleans())
    def time_passes(self, minutes: int, check: bool) -> None:
        self.play.wait(minutes=minutes)
        if check:
            self.timer_fires(to_due=False)

    @precondition(lambda self: self.at(*Stage) and self.case.next_due is not None)
    @rule(to_due=st.just(True))
    def timer_fires(self, to_due: bool) -> None:
        due = self.case.next_due
        if to_due and due is not None:
            self.play.now = max(self.play.now, due)
        self.attempt(c.CheckDeadlines(), SYSTEM)
        due = self.case.next_due
        assert due is None or due > self.play.now or self.case.merging is not None

    # --- rules: and what should not ---

    @rule(command=st.one_of(courses, sent, said, visits, endings), actor=actors)
    def anything_by_anybody(self, command: c.Command, actor: Actor) -> None:
        if not isinstance(command, c.Void | c.Merge) or self.play.now.minute:
            self.attempt(command, actor)

    @rule(data=st.data(), actor=st.one_of(st.sampled_from(holders), actors), step=hours, id=optional_ids)
    def clock_touched(self, data: st.DataObject, actor: Actor, step: int, id: str | None) -> None:
        until = self.play.now + timedelta(hours=step)
        how = data.draw(
            st.sampled_from(["extend", "extend", "suspend", "forever", "naive", "ask", "ask", "ask", "holiday", "again"])
        )
        kind = data.draw(kinds)
        match how:
            case "extend":
                self.attempt(c.Extend(kind=kind, until=until, reason="缺料", assignment=id), actor)
            case "suspend":
                self.attempt(c.Suspend(reason="待料", until=until), actor)
            case "forever":
                self.attempt(c.Suspend(reason="待料"), actor)
            case "naive":
                self.attempt(c.Suspend(reason="待料", until=until.replace(tzinfo=None)), actor)
            case "ask":
                what = data.draw(st.sampled_from(["suspension", "extension"]))
                self.attempt(c.Ask(what=what, reason="待料", until=until, assignment=id), actor)
            case "holiday":
                self.attempt(c.Ask(what="holiday", reason="休假"), actor)
            case _:
                source = Source(adapter="hotline", ref="1")
                report = c.AttachReport(
                    channel=Channel.HOTLINE, text="又来电", area=GRID, reported_at=self.play.now, source=source
                )
                self.attempt(report, SYSTEM)

    # --- what always holds ---

    @invariant()
    def folding_gives_the_state(self) -> None:
        assert self.play.folded() == self.play.folded_now

    @invariant()
    def nothing_is_open_without_owner_and_limit(self) -> None:
        if self.play.folded_now is None:
            return
        case = self.case
        for item in case.assignments:
            limits = {d.kind: d for d in case.deadlines if d.assignment == item.id}
            if item.state.open:
                assert self.play.rules.units.unit(item.unit) is not None
                assert limits[DeadlineKind.FINISH].owner == item.unit
            else:
                assert not limits
            if item.accepted_at is not None:
                assert DeadlineKind.ACCEPT not in limits
        for d in case.deadlines:
            assert self.play.rules.units.unit(d.owner) is not None
            assert (d.remaining is not None) == (case.suspended_at is not None)
        if case.stage in (Stage.HELD, Stage.DISPATCHED):
            resolve = self.play.limit(DeadlineKind.RESOLVE)
            assert resolve is not None
            assert resolve.owner == case.holder
            assert case.first_response_at is not None or self.play.limit(DeadlineKind.FIRST_RESPONSE) is not None
            if case.suspended_at is None and case.next_due is None:
                assert all(d.step == 3 for d in case.deadlines), "a limit was forgotten before its ladder's end"
                assert "overdue:resolve" in case.attention

    @invariant()
    def the_state_is_legal(self) -> None:
        if self.play.folded_now is None:
            return
        case = self.case
        assert case.stage is not Stage.REPORTED
        unit = self.play.rules.units.unit(case.holder or "")
        assert unit is not None
        assert unit.level is case.level
        if case.stage.ended:
            assert case.deadlines == ()
            assert case.asked == ()
            assert case.attention == ()
            assert case.suspended_at is None
            assert not any(item.state.open for item in case.assignments)
            assert case.next_due is None
        leads_open = any(
            item.state.open and item.role is Role.LEAD and item.round == case.reopened for item in case.assignments
        )
        if case.stage is Stage.HELD:
            assert not leads_open
        if case.stage is Stage.DISPATCHED:
            assert leads_open or any(item.state.open and item.required for item in case.assignments)
        if case.stage is Stage.RESOLVED:
            assert case.resolved_at is not None
            assert case.suspended_at is None
        assert (case.closed_at is not None) == (case.stage is Stage.CLOSED)
        for entry in case.attention:
            why, _, name = entry.partition(":")
            item = case.assignment(name)
            if why in ("dead", "uncertain", "returned", "refused"):
                assert item is not None
                assert item.state.value == why
            else:
                assert why == "overdue"
                assert item.state.open if item is not None else name in ("resolve", "first_response")
        for item in case.assignments:
            if item.state in (S.DEAD, S.UNCERTAIN):
                assert f"{item.state.value}:{item.id}" in case.attention
            started = [a for a in item.attempts if a.outcome is AttemptOutcome.STARTED]
            assert len(started) <= 1
            assert item.adapter is not None or not item.attempts
            assert [a.number for a in item.attempts] == list(range(1, len(item.attempts) + 1))

    # --- the timer, as linkage and deadlines keep it ---

    def set_timer(self) -> None:
        if self.case.next_due is not None:
            self.timer = self.case.next_due

    @precondition(lambda self: self.play.folded_now is not None and self.heard < len(self.play.wakes))
    @rule()
    def linkage_comes_to_it(self) -> None:
        """However late: what is set is when the case as it is now is due."""
        if any(wake is not None for wake in self.play.wakes[self.heard :]):
            self.set_timer()
        self.heard = len(self.play.wakes)

    @precondition(lambda self: self.timer is not None and self.timer <= self.play.now)
    @rule()
    def timer_goes_off(self) -> None:
        self.timer, before = None, len(self.play.commits)
        self.attempt(c.CheckDeadlines(), SYSTEM)
        if len(self.play.commits) == before:
            self.set_timer()

    @invariant()
    def every_limit_has_a_timer(self) -> None:
        """A timer set too early is harmless, a missing one is not."""
        if self.play.folded_now is None or any(wake is not None for wake in self.play.wakes[self.heard :]):
            return
        if (due := self.case.next_due) is not None:
            assert self.timer is not None
            assert self.timer <= max(due, self.play.now)


TestLifecycle = LifecycleMachine.TestCase
TestLifecycle.settings = settings(
    max_examples=350,
    stateful_step_count=50,
    deadline=None,
    report_multiple_bugs=False,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
