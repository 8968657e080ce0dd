"""A command carries its own form: a text that nobody declared can't be in one, and what people write is masked before it is stored."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

import msgspec
import pytest

from hub.model.aggregate import Command, tag_of
from hub.model.assignments.commands import Dispatch, Target
from hub.model.bykind import ByKind
from hub.model.case import CASE
from hub.model.case.commands import Attach, Comment, Progress
from hub.model.forms import Form, SaidBy
from hub.model.records import Attachment
from hub.model.rights import EVERYBODY
from hub.model.texts import Code, Prose, Written, filled_in, reworded, texts_of
from hub.surfaces.api.bodies import body_of, decode
from hub.surfaces.api.problems import Failure

FORM = Form(roles=EVERYBODY, example={})


class Undeclared(Command, frozen=True, tag="undeclared"):
    """Says something of which nobody knows what it is."""

    form = FORM
    summary: str


class Endless(Command, frozen=True, tag="endless"):
    """As long as you like."""

    form = FORM
    summary: Written


class ByTheHub(Command, frozen=True, tag="by_the_hub"):
    """Only the hub says this, so its length was checked before."""

    summary: Written | None = None


class Loose(Command, frozen=True, tag="loose"):
    """Anything at all."""

    values: dict[str, str]


class Summed(Command, frozen=True, tag="summed"):
    """A new text field that no list in the hub names."""

    form = FORM
    summary: Prose
    to: Annotated[str, msgspec.Meta(max_length=9, extra={"text": "code"})] = ""
    by: SaidBy | None = None


class Listed(Command, frozen=True, tag="listed"):
    """Several remarks at once."""

    form = FORM
    remarks: tuple[Prose, ...]


class Hidden(Command, frozen=True, tag="hidden"):
    """A set: nobody would mask what is in it."""

    remarks: frozenset[Prose]


class Nested(Command, frozen=True, tag="nested"):
    """Lists of lists."""

    remarks: tuple[tuple[Prose, ...], ...]


class Bytes(Command, frozen=True, tag="bytes"):
    """Bytes can hold anything."""

    content: bytes


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (Hidden, "Hidden.remarks: no form describes such a field"),
        (Nested, "Nested.remarks: no form describes such a field"),
        (Bytes, "Bytes.content: no form describes such a field"),
        (Undeclared, "Undeclared.summary: a text of no kind"),
        (Endless, "Endless.summary: what people may fill in has to have a greatest length"),
        (Loose, "Loose.values: no form describes such a field"),
    ],
)
def test_an_aggregate_refuses_a_command_that_says_too_little_of_a_field(command: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        replace(CASE, commands=(*CASE.commands, command))


def test_each_text_of_several_is_masked() -> None:
    assert reworded(Listed(remarks=("secret", "fine")), lambda text: text.replace("secret", "***")).remarks == ("***", "fine")


def test_what_only_the_hub_says_needs_no_greatest_length() -> None:
    assert ByTheHub in replace(CASE, commands=(*CASE.commands, ByTheHub)).commands


def test_a_new_text_field_is_limited_and_masked_by_its_type_alone() -> None:
    body = body_of(Summed)
    assert [field.name for field in filled_in(Summed)] == ["summary", "to"]
    with pytest.raises(Failure):
        decode(b'{"summary": "' + b"x" * 2_001 + b'"}', body)
    with pytest.raises(Failure):
        decode(b'{"summary": "done", "by": "me"}', body)
    masked = reworded(Summed(summary="secret", to="secret"), lambda text: text.replace("secret", "***"))
    assert masked == Summed(summary="***", to="secret")


def test_every_text_people_may_write_is_known_as_such() -> None:
    written = {text.path.partition(".")[2] for command in CASE.commands for text in texts_of(command) if text.written}
    assert {"reason", "note", "message", "text", "title", "place", "purpose", "targets.task", "attachments.name"} <= written
    for command in CASE.given:
        assert all(text.bounded or text.by_hub for text in texts_of(command)), tag_of(command)


def test_every_text_of_a_command_is_reworded_and_nothing_else() -> None:
    def hide(text: str) -> str:
        return text.replace("张建国", "张**")

    file = Attachment(name="张建国家.jpg", media_type="image/jpeg", size=1, sha256="0")
    assert reworded(Attach(attachment=file, note="张建国提供"), hide) == Attach(
        attachment=Attachment(name="张**家.jpg", media_type="image/jpeg", size=1, sha256="0"), note="张**提供"
    )
    assert reworded(Dispatch(targets=(Target(unit="water", task="找张建国核实"),)), hide).targets[0].task == "找张**核实"
    progress = Progress(assignment="张建国", note="张建国已到场", by="张建国")
    assert reworded(progress, hide) == Progress(assignment="张建国", note="张**已到场", by="张**")
    untouched = Comment(text="已到场")
    assert reworded(untouched, hide) is untouched


def test_one_kind_has_one_function_unless_it_is_said_to_replace_a_parts() -> None:
    table: ByKind[Command] = ByKind()
    table.on(Comment)(len)
    with pytest.raises(ValueError, match="Comment has a function already"):
        table.on(Comment)(repr)
    with pytest.raises(ValueError, match="Attach has no function yet"):
        table.on(Attach, over=True)(repr)
    table.on(Comment, over=True)(repr)
    assert table[Comment] is repr


def test_codes_are_left_as_they_are() -> None:
    class Ticketed(msgspec.Struct):
        ticket: Code

    assert reworded(Ticketed("13800001234"), lambda _: "***").ticket == "13800001234"
