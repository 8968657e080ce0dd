"""The protocol for adapters elsewhere: what is sent is what is read, what is wrong is named, what is published is what is spoken."""

from __future__ import annotations

import base64
import importlib.util
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import jsonschema_rs
import msgspec
import pytest
import yaml

from hub import contract
from hub.bus.permissions import RemoteUser, permissions_of, remotes_account
from hub.contract.values import Said
from hub.errors import ConfigError, InvalidInput
from hub.model.answers import Reached, Satisfied, Solved
from hub.model.assignments.state import Role
from hub.model.case.state import Channel, Severity
from hub.model.effects import Verb
from hub.platform.remote import messages
from hub.platform.remote.credentials import new_key
from hub.platform.remote.credentials_file import CredentialsFile, parse_credentials, read_credentials, write_credentials
from hub.platform.remote.far.saying import Saying
from hub.platform.remote.messages import ANSWERS, AnswerName
from hub.platform.remote.messages import ORDERS as MODELS
from hub.platform.remote.protocol import decode_answer, decode_order, encode

NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
KEY = "320113001001001-1m837dmgsajfceht.a2"
DOCS = Path(__file__).parents[2] / "docs"
ASSIGNED: dict[str, Any] = {
    "key": KEY,
    "case": KEY.partition(".")[0],
    "unit": "water",
    "role": Role.LEAD,
    "title": "路面冒水",
    "text": "人行道下冒水",
    "category": "E0102",
    "category_name": "供水管网",
    "severity": Severity.URGENT,
    "area": "320113001001001",
    "area_path": ("栖霞区", "尧化街道"),
    "reported_at": NOW,
}
EXAMPLES: dict[AnswerName, msgspec.Struct] = {
    AnswerName.STARTED: messages.Started(key=KEY, attempt=2),
    AnswerName.RECEIPT: messages.Filed(key=KEY, ticket="W-1", attempt=1),
    AnswerName.REFUSED: messages.Refusal(key=KEY, attempt=1, reason="不属于本单位", status=422),
    AnswerName.FAILED: messages.Failure(key=KEY, attempt=1, error="unavailable", reason="closed", retry_at=NOW),
    AnswerName.UNCERTAIN: messages.Doubt(key=KEY, attempt=1, reason="no answer"),
    AnswerName.DEAD: messages.Buried(
        key=KEY, order="o1", attempts=8, first_at=NOW, last_at=NOW, error="unavailable", reason="closed"
    ),
    AnswerName.EFFECT: messages.Effect(case=ASSIGNED["case"], effect="recall:a2"),
    AnswerName.ACCEPTED: Said(key=KEY, at=NOW, by="值班室"),
    AnswerName.PROGRESS: Said(ticket="W-1", note="已到场"),
    AnswerName.RESOLVED: Said(
        ticket="W-1", files=(contract.ReportedFile(name="a.jpg", media_type="image/jpeg", content=b"x"),)
    ),
    AnswerName.RETURNED: Said(key=KEY, note="非本单位管辖"),
    AnswerName.VISITED: Said(ticket="W-9", reached=Reached.YES, solved=Solved.YES, satisfied=Satisfied.NO, rating=3),
    AnswerName.CASE: contract.IncomingCase(
        ref="W-9",
        channel=Channel.HOTLINE,
        title="停水",
        text="三号楼停水",
        reported_at=NOW,
        contact=contract.Contact(phone="1"),
    ),
    AnswerName.UNMAPPED: messages.Unmapped(table="statuses", word="挂账"),
    AnswerName.ASIDE: messages.Aside(item="x", reason="rating is a number from 0 to 10"),
}
ORDERS: dict[Verb, msgspec.Struct] = {
    Verb.DELIVER: messages.Deliver(
        **ASSIGNED, attempt=1, attempts=8, backoff=messages.Backoff(base=5, cap=1800), contact_available=True
    ),
    Verb.RECALL: messages.Tell(**ASSIGNED, effect="recall:a2", message="误报"),
    Verb.URGE: messages.Tell(**ASSIGNED, effect="urge:a2", message="请尽快"),
    Verb.INFORM: messages.Inform(
        case=ASSIGNED["case"], ref="W-9", stage="closed", text="已办结", at=NOW, effect="inform:closed"
    ),
}


def written(family: str, kind: str, data: msgspec.Struct) -> bytes:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    return encode(family, kind, data, id="e1", source="/x", at=NOW, subject=KEY, traceparent=trace)


@pytest.mark.parametrize("kind", list(AnswerName))
def test_a_report_is_read_as_it_was_written_and_fits_its_published_schema(kind: AnswerName) -> None:
    raw = written("answer", kind.value, EXAMPLES[kind])
    event = decode_answer(raw, kind.value)
    assert (event.id, event.kind, event.data, event.time) == ("e1", kind.value, EXAMPLES[kind], NOW)
    validator(f"answer.{kind.value}").validate(json.loads(raw))


@pytest.mark.parametrize("kind", list(MODELS))
def test_an_order_is_read_as_it_was_written_and_fits_its_published_schema(kind: Verb) -> None:
    raw = written("order", kind.value, ORDERS[kind])
    assert decode_order(raw).data == ORDERS[kind]
    validator(f"order.{kind.value}").validate(json.loads(raw))


def validator(name: str) -> Any:
    return jsonschema_rs.validator_for(json.loads((DOCS / "protocol" / "schemas" / f"{name}.json").read_text(encoding="utf-8")))


def event(**changes: Any) -> bytes:
    base = {
        "specversion": "1.0",
        "id": "1",
        "source": "x",
        "type": "city-hub.answer.receipt.v1",
        "data": {"key": KEY, "ticket": "W-1"},
    }
    return json.dumps({name: value for name, value in (base | changes).items() if value is not None}).encode()


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        (b"", ""),
        (b"\xff", ""),
        (b"[]", ""),
        (event(id=None), ""),
        (event(id=""), "id"),
        (event(specversion="0.3"), "specversion"),
        (event(type="other.report.receipt.v1"), "type"),
        (event(type="city-hub.answer.receipt.v2"), "type"),
        (event(type="city-hub.answer.nothing.v1"), "type"),
        (event(type="city-hub.answer.accepted.v1"), "type"),
        (event(time="yesterday"), "time"),
        (event(time="2026-11-23T08:00:00"), "time"),
        (event(traceparent="x"), "traceparent"),
        (event(data={"key": KEY}), "data"),
        (event(data={"key": KEY, "ticket": ""}), "data.ticket"),
        (event(data={"key": KEY, "ticket": 7}), "data.ticket"),
        (event(data={"key": KEY, "ticket": "W", "attempt": 0}), "data.attempt"),
        (event(data={"key": KEY, "ticket": "W", "adapter": "other"}), "data"),
        (event(data="x"), "data"),
    ],
)
def test_what_is_wrong_is_named(raw: bytes, field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        decode_answer(raw, "receipt")
    assert refused.value.subject == field


def test_unknown_attributes_of_an_event_are_ignored_as_the_standard_asks() -> None:
    assert decode_answer(event(partitionkey="7"), "receipt").data == messages.Filed(key=KEY, ticket="W-1")


def test_a_report_of_a_plugin_comes_through_whole() -> None:
    file = contract.ReportedFile(name="a.jpg", media_type="image/jpeg", content=b"\x00\xff")
    report = contract.Feedback(
        id="7", kind=contract.FeedbackKind.RESOLVED, key=KEY, ticket="W-1", at=NOW, by="班组", note="完", files=(file,)
    )
    out = Saying("water", lambda: NOW).item(report)
    read = decode_answer(out.body, out.kind)
    assert contract.Feedback.of(read.data, id=read.id, kind=contract.FeedbackKind(read.kind)) == report
    assert base64.b64decode(json.loads(out.body)["data"]["files"][0]["content"]) == file.content


def test_nothing_personal_is_in_an_order() -> None:
    assignment = contract.Assignment(**ASSIGNED, contact=contract.Contact(name="欧阳静怡", phone="025-86001234"))
    tell = messages.Tell.of(assignment, effect="urge:a2")
    assert "欧阳静怡" not in written("order", "urge", tell).decode()
    assert contract.Assignment.of(tell) == contract.Assignment(**ASSIGNED)


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ({"key": KEY, "files": [{"name": "a", "media_type": "b", "content": "not base64!"}]}, "data.files[0].content"),
        ({"key": KEY, "note": "x" * 200_001}, "data.note"),
        ({"key": KEY, "at": "2026-11-23T08:00:00"}, "data.at"),
        ({"key": KEY, "rating": 6}, "data.rating"),
    ],
)
def test_what_is_out_of_bounds_in_a_report_is_named(data: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        decode_answer(event(type="city-hub.answer.progress.v1", data=data), "progress")
    assert refused.value.subject == field


def test_every_message_is_published_and_named_by_the_asyncapi_document() -> None:
    text = (DOCS / "protocol" / "asyncapi.yaml").read_text(encoding="utf-8")
    named = set(re.findall(r"\./schemas/([\w.-]+)\.json", text))
    published = {file.stem for file in (DOCS / "protocol" / "schemas").glob("*.json")}
    assert named == published
    assert {f"answer.{kind.value}" for kind in ANSWERS} <= published
    assert yaml.safe_load(text)["asyncapi"] == "3.0.0"


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_docs", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_published_files_are_up_to_date(generate: ModuleType) -> None:
    for file, text in generate.files().items():
        assert file.read_text(encoding="utf-8") == text, "run `python docs/generate.py`"
    there = {file for file in (DOCS / "protocol").rglob("*") if file.suffix in (".json", ".yaml")}
    assert there == set(generate.files())


def test_credentials_are_written_for_their_owner_only_and_read_back(tmp_path: Path) -> None:
    seed, key = new_key()
    found = CredentialsFile(adapter="water", urls=("nats://hub:4222",), user=key, seed=seed)
    write_credentials(tmp_path / "water.creds", found)
    assert (tmp_path / "water.creds").stat().st_mode & 0o777 == 0o600
    assert read_credentials(tmp_path / "water.creds") == found
    assert seed not in repr(found)
    with pytest.raises(FileExistsError):
        write_credentials(tmp_path / "water.creds", found)


@pytest.mark.parametrize(
    "raw",
    [
        b"x",
        b"{}",
        b'{"adapter":"a","urls":[],"user":"U","seed":"S"}',
        b'{"adapter":"a","urls":["x"],"user":"U","seed":"S","protocol":2}',
    ],
)
def test_a_file_that_holds_no_credentials_is_refused_naming_it(raw: bytes) -> None:
    with pytest.raises(ConfigError, match="here"):
        parse_credentials(raw, "here")


def test_a_user_can_not_write_into_the_servers_configuration_by_its_name() -> None:
    _, key = new_key()
    for adapter, user in (('a" }', key), ("a.b", key), ("a>", key), ("*", key), ("", key), ("a", "U} x"), ("a", "")):
        with pytest.raises(ValueError, match="not a remote user"):
            RemoteUser(adapter=adapter, key=user)
    block = remotes_account([RemoteUser(adapter="water", key=key)])
    assert json.dumps(permissions_of("water")) in block
