"""Histories that between them hold every event; `python -m tests.unit.golden_histories` writes the golden files that are missing.

`tests/golden/<history>.jsonl` holds a case's commits as they are stored, one a line, and in its last line how the case stands then.
`tests/golden/fields.json` holds every event's fields by version. Neither is ever overwritten: what is in them was released.
"""

import json
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec

from hub.model.aggregate import Event, Folded
from hub.model.answers import Reached, Satisfied, Solved
from hub.model.assignments.state import DeadLetter
from hub.model.case import CASE
from hub.model.case import commands as c
from hub.model.case.state import Case, CaseId, Channel
from hub.model.district.areas import UnitCode
from hub.model.grown import Grown
from hub.model.limits.state import DeadlineKind
from hub.model.positions import How, Point, Position
from hub.model.records import Attachment, Source
from hub.spine.ledger.codec import digest
from tests.unit.case_play import CODEC, Play
from tests.unit.fake_rules import COMMUNITY, DISTRICT, GAS, GRID, LAMP, NOISE, SEWER, STREET, department, person

GOLDEN = Path(__file__).parents[1] / "golden"
FIELDS = GOLDEN / "fields.json"
OTHER, THIRD, FOURTH = (CaseId(f"{GRID}-0123456789abcde{letter}") for letter in "ghj")
PHOTO = Attachment(name="现场.jpg", media_type="image/jpeg", size=1200, sha256="ab" * 32)


def sewer() -> Play:
    """Claimed, dispatched, progress with a photo, extended, visited, reopened once, settled, closed."""
    play = Play()
    play.report(
        SEWER, contact_fields=("phone",), duplicate_of=OTHER, place="三号楼", attachments=(PHOTO,),
        position=Position(longitude=118.9175, latitude=32.1012, system="gcj02", accuracy_m=12.5, how=How.DEVICE),
        wgs84=Point(longitude=118.9124, latitude=32.1034),
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
    play.do(
        c.Resolve(
            assignment="a1",
            note="已疏通",
            public_reply="管道已疏通",
            reached=Reached.YES,
            tries=2,
            solved=Solved.PARTLY,
            satisfied=Satisfied.MOSTLY,
        ),
        department("property"),
    )
    play.do(c.Visit(reached=Reached.YES, solved=Solved.NO, satisfied=Satisfied.NO, rating=1, note="还在冒水"), person(DISTRICT))
    play.do(c.Settle(note="重新疏通"), person(COMMUNITY))
    play.do(c.Check(solved=Solved.YES, note="现场已恢复"), person(COMMUNITY))
    play.do(c.Visit(reached=Reached.NO, tries=2, note="无人接听"), person(DISTRICT))
    play.do(c.Visit(reached=Reached.YES, satisfied=Satisfied.YES, rating=5), person(DISTRICT))
    play.do(c.RecordEffect(effect="inform:closed", adapter="hotline"))
    play.do(c.EraseContact(reason="保存期满"), person(DISTRICT))
    play.do(c.RecordDestroyed(files=(PHOTO.sha256,)))
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
    play.do(c.Resend(assignment="a1", reason="系统已恢复"), person(DISTRICT))
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
    play.do(c.Merge(into=OTHER, reason="同一事项"), person(DISTRICT))
    play.do(c.FinishMerge(into=OTHER))
    return play


def lamp() -> Play:
    """Settled by the grid, asked for suspension, triaged anew."""
    play = Play()
    play.report(LAMP, channel=Channel.PATROL)
    play.do(c.Triage(category=SEWER, reason="实为排水"), person(COMMUNITY))
    play.do(c.Ask(what="suspension", reason="等待配件", until=play.now + timedelta(days=2)), person(COMMUNITY))
    play.do(c.Approve(request=play.case.asked[0].id), person(STREET))
    return play


def ring() -> Play:
    """Takes another case, asks to go on in a third, is refused, asks again and does; a later remark is passed on."""
    play = Play()
    play.report(LAMP)
    play.do(c.Absorb(other=THIRD, stamp=play.now, others=(FOURTH,)))
    play.wait(minutes=1)
    play.do(c.Merge(into=OTHER, reason="同一路灯"), person(COMMUNITY))
    play.do(c.RefuseMerge(into=OTHER, reason="the case has ended"))
    play.do(c.Merge(into=OTHER, reason="同一路灯"), person(COMMUNITY))
    play.do(c.FinishMerge(into=OTHER))
    play.do(c.Comment(text="又灭了"), person(COMMUNITY))
    return play


HISTORIES: Mapping[str, Callable[[], Play]] = {"sewer": sewer, "gas": gas, "noise": noise, "lamp": lamp, "ring": ring}


def lines_of(play: Play) -> list[bytes]:
    """A golden file's lines: every commit as it is stored, and last how the case stands then."""
    folded = play.folded()
    assert folded is not None
    return [*play.commits, msgspec.json.encode({"stands": standing(folded)})]


def standing(folded: Folded[Case]) -> dict[str, Any]:
    """A folded case as JSON can tell it, commands and attached reports included."""
    return msgspec.json.decode(msgspec.json.encode(folded, enc_hook=_told), type=dict[str, Any])


def _told(value: object) -> object:
    if isinstance(value, Grown):
        return [[key, value.get(key)] for key in value]
    raise TypeError(f"not told in JSON: {value!r}")


def fields_of(kind: type[Event]) -> dict[str, bool]:
    """The fields of an event; true for those without default."""
    return {field.encode_name: field.required for field in msgspec.structs.fields(kind)}


def fields_now() -> dict[str, dict[str, bool]]:
    """`<event>.v<version>` → its fields, of every event in its present version."""
    return {f"{name}.v{CASE.versions.get(name, 1)}": fields_of(kind) for name, kind in sorted(CODEC.events.items())}


def replayed(commits: list[bytes]) -> Folded[Case]:
    """The case that stored commits fold to."""
    folded: Folded[Case] | None = None
    for index, raw in enumerate(commits):
        folded = CASE.fold(folded, CODEC.decode(raw), digest=digest(raw), sequence=(index + 1) * 10)
    assert folded is not None
    return folded


def write_missing() -> list[str]:
    """Write the files that are missing, and the fields of new events; returns what was written."""
    GOLDEN.mkdir(exist_ok=True)
    written = []
    for name, history in HISTORIES.items():
        file = GOLDEN / f"{name}.jsonl"
        if not file.exists():
            file.write_bytes(b"\n".join(lines_of(history())) + b"\n")
            written.append(file.name)
    known = msgspec.json.decode(FIELDS.read_bytes(), type=dict[str, dict[str, bool]]) if FIELDS.exists() else {}
    fresh = {name: fields for name, fields in fields_now().items() if name not in known}
    if fresh:
        lines = (f"{json.dumps(name)}: {json.dumps(fields)}" for name, fields in sorted((known | fresh).items()))
        FIELDS.write_text("{\n" + ",\n".join(lines) + "\n}\n")
        written += fresh
    return written


if __name__ == "__main__":
    for name in write_missing():
        print("wrote", name)
