"""The stored form of commits: registered names, versions, upcasting, golden files."""

from datetime import UTC, datetime
from typing import Any, get_args

import msgspec
import pytest

from hub.errors import LedgerDamaged
from hub.ledger_codec import EVENTS, UPCASTERS, VERSIONS, Codec, command_digest, decode, digest, encode
from hub.model.cases import SYSTEM, Case, CaseId
from hub.model.commands import Comment
from hub.model.events import AnyEvent, Commented, Commit
from hub.model.lifecycle import EVOLVES
from tests.unit.golden_histories import GOLDEN, Golden, fields_of, file_of, goldens, replayed

FILES = sorted(GOLDEN.glob("*.json"))
COMMIT = Commit(
    case=CaseId("320113001001001-0123456789abcdef"),
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
    raw = encode(COMMIT)
    assert decode(raw) == COMMIT
    assert b'"type":"case.commented"' in raw


def test_every_event_is_registered_once_and_evolves_a_case() -> None:
    kinds = get_args(AnyEvent)
    assert set(EVENTS.values()) == set(kinds)
    assert len(EVENTS) == len(kinds)
    assert set(EVOLVES) == set(kinds)


def test_every_event_has_a_golden_file_of_every_version() -> None:
    wanted = {file_of(name, version).name for name in EVENTS for version in range(1, VERSIONS.get(name, 1) + 1)}
    assert wanted == {file.name for file in FILES}, "python -m tests.unit.golden_histories writes those that are missing"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_golden_commits_fold_to_the_same_case_for_ever(file: Any) -> None:
    golden = msgspec.json.decode(file.read_bytes(), type=Golden)
    commits = [msgspec.json.encode(msgspec.json.decode(raw)) for raw in golden.commits]
    assert replayed(commits) == golden.case
    last = decode(commits[-1])
    assert golden.event in {event.__struct_config__.tag for event in last.events}
    if golden.version == VERSIONS.get(golden.event, 1):
        assert [encode(decode(raw)) for raw in commits] == commits, "the stored form changed: give the event a new version"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_an_event_only_ever_gains_fields_that_may_be_missing(file: Any) -> None:
    golden = msgspec.json.decode(file.read_bytes(), type=Golden)
    if golden.version != VERSIONS.get(golden.event, 1):
        return
    now = fields_of(golden.event)
    assert golden.fields.items() <= now.items(), "a field was removed or changed: give the event a new version"
    assert not any(required for name, required in now.items() if name not in golden.fields), "give the event a new version"


def test_every_event_can_still_happen() -> None:
    assert {golden.event for golden in goldens()} == set(EVENTS)


def test_an_event_this_hub_does_not_know_is_refused_by_name() -> None:
    with pytest.raises(LedgerDamaged, match=r"commit 4 of case 320113.*does not know: 'case\.teleported'"):
        decode(stored(type="case.teleported", to="elsewhere"))


def test_an_event_of_a_newer_version_is_refused() -> None:
    with pytest.raises(LedgerDamaged, match=r"case\.commented version 2; this hub reads up to 1"):
        decode(stored(type="case.commented", text="x", v=2))


def test_a_commit_of_a_newer_form_is_refused() -> None:
    raw = encode(msgspec.structs.replace(COMMIT, v=2))
    with pytest.raises(LedgerDamaged, match="a newer hub"):
        decode(raw)


@pytest.mark.parametrize("raw", [b"", b"[]", b"not json", b'{"case":"x"}', b'{"v":1}', b'{"events":[1]}', b'{"events":7}'])
def test_what_is_no_commit_is_refused(raw: bytes) -> None:
    with pytest.raises(LedgerDamaged):
        decode(raw)


def test_an_event_with_a_missing_field_is_refused() -> None:
    with pytest.raises(LedgerDamaged, match="text"):
        decode(stored(type="case.commented"))


def test_old_versions_are_upcast_step_by_step() -> None:
    def to_two(event: dict[str, Any]) -> dict[str, Any]:
        return {**event, "remark": event["said"]}

    def to_three(event: dict[str, Any]) -> dict[str, Any]:
        return {"type": event["type"], "text": event["remark"]}

    codec = Codec({"case.commented": 3}, {("case.commented", 1): to_two, ("case.commented", 2): to_three})
    assert codec.decode(stored(type="case.commented", said="一")).events == (Commented(text="一"),)
    assert codec.decode(stored(type="case.commented", remark="二", v=2)).events == (Commented(text="二"),)
    now = codec.encode(COMMIT)
    assert b'"v":3' in now
    assert codec.decode(now) == COMMIT
    with pytest.raises(LedgerDamaged, match="newer hub"):
        codec.decode(stored(type="case.commented", text="四", v=4))


def test_a_version_without_a_way_up_is_refused_at_start() -> None:
    with pytest.raises(ValueError, match=r"no upcaster for case\.commented version 2"):
        Codec({"case.commented": 3}, {("case.commented", 1): dict})
    with pytest.raises(ValueError, match="not a registered event"):
        Codec({"case.teleported": 2}, {})


def test_the_shipped_registry_is_complete() -> None:
    Codec(VERSIONS, UPCASTERS)


def test_hashes_depend_on_content_alone() -> None:
    assert digest(b"x") == digest(b"x") != digest(b"y")
    assert len(digest(b"x")) == 64
    assert command_digest(Comment(text="a")) == command_digest(Comment(text="a")) != command_digest(Comment(text="b"))


def test_a_folded_case_survives_json() -> None:
    """Views may keep the folded case."""
    for golden in goldens():
        assert msgspec.json.decode(msgspec.json.encode(golden.case), type=Case) == golden.case
