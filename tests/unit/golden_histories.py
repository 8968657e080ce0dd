"""Short histories that between them hold every event; `python -m tests.unit.golden_histories` writes the golden files that are missing.

A golden file `tests/golden/<event>.v<version>.json` holds the commits of a case up to the first with that event, as stored, and
the case they fold to. Files are never overwritten: what is in them was released.
"""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import msgspec

from hub.ledger_codec import EVENTS, VERSIONS, decode, digest
from hub.model import commands as c
from hub.model.areas import UnitCode
from hub.model.cases import Attachment, Case, CaseId, Channel, DeadlineKind, Source
from hub.model.events import DeadLetter
from hub.model.lifecycle import fold
from tests.unit.case_play import Play
from tests.unit.fake_rules import COMMUNITY, DISTRICT, GAS, GRID, LAMP, NOISE, SEWER, STREET, department, person

GOLDEN = Path(__file__).parents[1] / "golden"
OTHER = CaseId(f"{GRID}-0123456789abcdeg")
PHOTO = Attachment(name="现场.jpg", media_type="image/jpeg", size=1200, sha256="ab" * 32)


class Golden(msgspec.Struct, kw_only=True):
    """A golden file. `commits` are kept as they are stored; `fields` are the event's (true: must be given)."""

    event: str
    version: int
    fields: dict[str, bool]
    commits: list[msgspec.Raw]
    case: Case


def sewer() -> Play:
    """Claimed, dispatched, progress with a photo, extended, visited, reopened once, settled, closed."""
    play = Play()
    play.report(
        SEWER, contact_fields=("phone",), duplicate_of=OTHER, place="三号楼", attachments=(PHOTO,),
        source=Source(adapter="hotline", ref="W-1"),
    )  # fmt: skip
    play.do(c.AccessContact(by="worker", purpose="回访", fields=("phone",)), person(COMMUNITY))
    play.wait(minutes=10)
    play.do(c.Claim(note="已到现场"), person(COMMUNITY))
    play.do(c.Dispatch(), person(COMMUNITY))
    play.deliver("a1")
    play.do(c.Urge(message="请尽快", assignment="a1"), person(COMMUNITY))
    play.do(c.Progress(assignment="a1", note="疏通中", by="班组", attachments=(PHOTO,)), department("property"))
    play.do(c.Accept(assignment="a1"), department("property"))
    play.do(c.Resolve(assignment="a2", note="已处理"), person("water"))
    play.do(c.Ask(what="extension", reason="缺料", until=play.now + timedelta(days=5), assignment="a1"), person("property"))
    play.do(c.Decline(request=play.case.asked[0].id, reason="抓紧办理"), person(STREET))
    play.do(
        c.Extend(kind=DeadlineKind.FINISH, until=play.now + timedelta(days=4), reason="缺料", assignment="a1"), person(STREET)
    )
    play.do(c.Resolve(assignment="a1", note="已疏通"), department("property"))
    play.do(c.Visit(reached=True, solved=False, satisfied=False, rating=1, note="还在冒水"), person(DISTRICT))
    play.do(c.Settle(note="重新疏通"), person(COMMUNITY))
    play.do(c.Visit(reached=True, satisfied=True, rating=5), person(DISTRICT))
    play.do(c.RecordEffect(effect="inform:closed", adapter="hotline"))
    play.do(c.EraseContact(reason="保存期满"), person(DISTRICT))
    return play


def gas() -> Play:
    """Everything that can go wrong with a delivery."""
    play = Play()
    play.report(GAS)
    play.do(c.StartDelivery(assignment="a1"))
    retry_at = play.now + timedelta(seconds=2)
    play.do(c.RecordFailed(assignment="a1", attempt=1, error="unavailable", reason="503", retry_at=retry_at))
    play.do(c.StartDelivery(assignment="a1"))
    play.do(c.RecordFailed(assignment="a1", attempt=2, error="outcome_unknown", reason="time-out", unknown=True))
    letter = DeadLetter(
        event_id="e1", subject="dispatch.utilities.x", attempts=2, first_at=play.now, last_at=play.now, error="outcome_unknown",
        reason="time-out", adapter_version="1.0", payload_hash="cd" * 32,
    )  # fmt: skip
    play.do(c.RecordDead(assignment="a1", letter=letter))
    play.do(c.Replay(assignment="a1", reason="系统已恢复"), person(DISTRICT))
    play.do(c.StartDelivery(assignment="a2"))
    play.do(c.RecordUncertain(assignment="a2", attempt=1, reason="can't be asked"))
    play.do(c.Drop(assignment="a2", reason="电话核实"), person(DISTRICT))
    play.do(c.RecordDelivered(assignment="a2", ticket="P-1", attempt=1))
    play.do(c.RecordEffect(effect="recall:a2", adapter="police", error="refused", reason="已出警", final=True))
    play.do(c.StartDelivery(assignment="a3"))
    play.do(c.RecordRefused(assignment="a3", attempt=1, reason="不属本公司"))
    play.do(c.Supervise(message="限时反馈", assignment="a1"), person(DISTRICT))
    play.do(c.Void(reason="误报"), person(DISTRICT))
    return play


def noise() -> Play:
    """Late and so with the district, suspended, resumed, returned, merged."""
    play = Play()
    play.report(NOISE)
    play.wait(hours=5)
    play.do(c.CheckDeadlines())
    play.do(c.Suspend(reason="等待鉴定", until=play.now + timedelta(days=1)), person(DISTRICT))
    play.wait(hours=3)
    play.do(c.Resume(reason="鉴定完成"), person(DISTRICT))
    play.do(c.Return(assignment="a1", reason="非职责范围"), department("police"))
    play.do(c.Comment(text="联系城管"), person(DISTRICT))
    play.do(c.Attach(attachment=PHOTO, note="现场"), person(DISTRICT))
    play.do(c.Dispatch(), person(DISTRICT))
    play.do(c.Reassign(assignment="a2", unit=UnitCode("property"), reason="改派"), person(DISTRICT))
    play.do(
        c.AttachReport(
            channel=Channel.HOTLINE, text="又来电", area=GRID, reported_at=play.now, source=Source(adapter="hotline", ref="W-2")
        )
    )
    play.do(c.Absorb(other=CaseId(f"{GRID}-0123456789abcdeh")), person(DISTRICT))
    play.do(c.Merge(into=OTHER, reason="同一事项"), person(DISTRICT))
    return play


def lamp() -> Play:
    """Settled by the grid, asked for suspension, triaged anew."""
    play = Play()
    play.report(LAMP, channel=Channel.PATROL)
    play.do(c.Triage(category=SEWER, reason="实为排水"), person(COMMUNITY))
    play.do(c.Ask(what="suspension", reason="等待配件", until=play.now + timedelta(days=2)), person(COMMUNITY))
    play.do(c.Approve(request=play.case.asked[0].id), person(STREET))
    return play


HISTORIES: tuple[Callable[[], Play], ...] = (sewer, gas, noise, lamp)


def goldens() -> Iterator[Golden]:
    """A golden file's content for every event, from the first history that has it."""
    histories = [history() for history in HISTORIES]
    for name in EVENTS:
        yield _first(histories, name)


def _first(histories: list[Play], name: str) -> Golden:
    for play in histories:
        for count, raw in enumerate(play.commits, start=1):
            if any(event.__struct_config__.tag == name for event in decode(raw).events):
                kept = [msgspec.Raw(raw) for raw in play.commits[:count]]
                return Golden(
                    event=name,
                    version=VERSIONS.get(name, 1),
                    fields=fields_of(name),
                    commits=kept,
                    case=replayed(play.commits[:count]),
                )
    raise LookupError(f"no history has {name}")


def fields_of(name: str) -> dict[str, bool]:
    """The fields of a registered event; true for those without default."""
    return {field.encode_name: field.required for field in msgspec.structs.fields(EVENTS[name])}


def replayed(commits: list[bytes]) -> Case:
    """The case that stored commits fold to."""
    case: Case | None = None
    for index, raw in enumerate(commits):
        case = fold(case, decode(raw), digest=digest(raw), sequence=(index + 1) * 10)
    assert case is not None
    return case


def file_of(name: str, version: int) -> Path:
    """Where an event's golden file lies."""
    return GOLDEN / f"{name}.v{version}.json"


def write_missing() -> list[str]:
    """Write the files that are missing; returns their names."""
    GOLDEN.mkdir(exist_ok=True)
    written = []
    for golden in goldens():
        file = file_of(golden.event, golden.version)
        if not file.exists():
            file.write_bytes(msgspec.json.format(msgspec.json.encode(golden), indent=1) + b"\n")
            written.append(file.name)
    return written


if __name__ == "__main__":
    for name in write_missing():
        print("wrote", name)
