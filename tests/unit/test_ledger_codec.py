"""The stored form of commits: registered names, versions, upcasting, golden files."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hub.errors import LedgerDamaged
from hub.model.actors import SYSTEM
from hub.model.aggregate import NO_COMMANDS, Commit, Event, tag_of
from hub.model.case import CASE
from hub.model.case.commands import Comment
from hub.model.case.events import Commented
from hub.model.case.state import NO_SOURCES, CaseId
from hub.spine.ledger.codec import Codec, command_digest, digest
from hub.views.rows import decode_case, encode_case
from tests.unit.case_play import CODEC
from tests.unit.golden_histories import FIELDS, GOLDEN, HISTORIES, fields_now, replayed, standing

FILES = sorted(GOLDEN.glob("*.jsonl"))
COMMIT: Commit[Event] = Commit(
    aggregate="case",
    id=CaseId("320113001001001-0123456789abcdef"),
    number=4,
    at=datetime(2026, 3, 2, 1, 0, tzinfo=UTC),
    command="comment",
    command_id="k",
    command_digest="d",
    actor=SYSTEM,
    policy=3,
    events=(Commented(text='引号 "v": 和 \\ 都在'),),
    previous="0" * 64,
)


def stored(**event: Any) -> bytes:
    values = msgspec.to_builtins(COMMIT)
    values["events"] = [event]
    return msgspec.json.encode(values)


def test_a_commit_is_read_as_it_was_written() -> None:
    raw = CODEC.encode(COMMIT)
    assert CODEC.decode(raw) == COMMIT
    assert b'"type":"case.commented"' in raw


def test_every_event_is_registered_once() -> None:
    assert len(CODEC.events) == len(CASE.events)


def commits_of(file: Path) -> list[bytes]:
    return file.read_bytes().splitlines()[:-1]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_golden_commits_fold_to_the_same_case_for_ever(file: Path) -> None:
    *commits, last = file.read_bytes().splitlines()
    assert standing(replayed(commits)) == msgspec.json.decode(last)["stands"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_stored_form_stays_to_the_byte(file: Path) -> None:
    for raw in commits_of(file):
        if not any(event.get("v", 1) != CASE.versions.get(event["type"], 1) for event in msgspec.json.decode(raw)["events"]):
            assert CODEC.encode(CODEC.decode(raw)) == raw, "the stored form changed: give the event a new version"


def test_the_golden_histories_hold_every_event_in_every_version() -> None:
    held = {
        (event["type"], event.get("v", 1))
        for file in FILES
        for raw in commits_of(file)
        for event in msgspec.json.decode(raw)["events"]
    }
    wanted = {(name, version) for name in CODEC.events for version in range(1, CASE.versions.get(name, 1) + 1)}
    assert held == wanted, "give a history what is missing; python -m tests.unit.golden_histories writes new ones"


def test_an_event_only_ever_gains_fields_that_may_be_missing() -> None:
    golden = msgspec.json.decode(FIELDS.read_bytes(), type=dict[str, dict[str, bool]])
    for name, now in fields_now().items():
        assert name in golden, "python -m tests.unit.golden_histories writes the fields of new events"
        assert golden[name].items() <= now.items(), f"{name}: a field was removed or changed: give the event a new version"
        added = [field for field, required in now.items() if required and field not in golden[name]]
        assert not added, f"{name}: {added} must have a default, or the event a new version"


def test_every_event_can_still_happen() -> None:
    happened = {
        tag_of(event) for history in HISTORIES.values() for raw in history().commits for event in CODEC.decode(raw).events
    }
    assert happened == set(CODEC.events)


def test_an_event_this_hub_does_not_know_is_refused_by_name() -> None:
    with pytest.raises(LedgerDamaged, match=r"commit 4 of case 320113.*does not know: 'case\.teleported'"):
        CODEC.decode(stored(type="case.teleported", to="elsewhere"))


def test_an_event_of_a_newer_version_is_refused() -> None:
    with pytest.raises(LedgerDamaged, match=r"case\.commented version 2; this hub reads up to 1"):
        CODEC.decode(stored(type="case.commented", text="x", v=2))


def test_a_commit_of_a_newer_form_is_refused() -> None:
    raw = CODEC.encode(msgspec.structs.replace(COMMIT, v=2))
    with pytest.raises(LedgerDamaged, match="a newer hub"):
        CODEC.decode(raw)


@pytest.mark.parametrize("raw", [b"", b"[]", b"not json", b'{"id":"x"}', b'{"v":1}', b'{"events":[1]}', b'{"events":7}'])
def test_what_is_no_commit_is_refused(raw: bytes) -> None:
    with pytest.raises(LedgerDamaged):
        CODEC.decode(raw)


def test_a_store_of_an_early_hub_is_refused_with_what_to_do() -> None:
    with pytest.raises(LedgerDamaged, match="empty data directory"):
        CODEC.decode(b'{"case":"320113001001001-0123456789abcdef","number":1,"events":[]}')


def test_an_event_with_a_missing_field_is_refused() -> None:
    with pytest.raises(LedgerDamaged, match="text"):
        CODEC.decode(stored(type="case.commented"))


def test_old_versions_are_upcast_step_by_step() -> None:
    def to_two(event: dict[str, Any]) -> dict[str, Any]:
        return {**event, "remark": event["said"]}

    def to_three(event: dict[str, Any]) -> dict[str, Any]:
        return {"type": event["type"], "text": event["remark"]}

    codec = Codec(
        replace(
            CASE,
            versions={"case.commented": 3},
            upcasters={("case.commented", 1): to_two, ("case.commented", 2): to_three},
        )
    )
    assert codec.decode(stored(type="case.commented", said="一")).events == (Commented(text="一"),)
    assert codec.decode(stored(type="case.commented", remark="二", v=2)).events == (Commented(text="二"),)
    now = codec.encode(COMMIT)
    assert b'"v":3' in now
    assert codec.decode(now) == COMMIT
    with pytest.raises(LedgerDamaged, match="newer hub"):
        codec.decode(stored(type="case.commented", text="四", v=4))


def test_a_version_without_a_way_up_is_refused_at_start() -> None:
    with pytest.raises(ValueError, match=r"no upcaster for case\.commented version 2"):
        Codec(replace(CASE, versions={"case.commented": 3}, upcasters={("case.commented", 1): dict}))
    with pytest.raises(ValueError, match="not a registered event"):
        Codec(replace(CASE, versions={"case.teleported": 2}))


def test_the_shipped_registry_is_complete() -> None:
    Codec(CASE)


def test_hashes_depend_on_content_alone() -> None:
    assert digest(b"x") == digest(b"x") != digest(b"y")
    assert len(digest(b"x")) == 64
    assert command_digest(Comment(text="a")) == command_digest(Comment(text="a")) != command_digest(Comment(text="b"))


def test_a_folded_case_survives_the_views() -> None:
    """Without the commands' keys and the attached reports, which are kept elsewhere."""
    for history in HISTORIES.values():
        folded = history().envelope
        kept = msgspec.structs.replace(
            folded, commands=NO_COMMANDS, state=msgspec.structs.replace(folded.state, attached_reports=NO_SOURCES)
        )
        assert decode_case(encode_case(folded)) == kept
