"""What log lines look like, and what never gets into one."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from hub.errors import ConfigError
from hub.observing import telemetry
from hub.observing.logs import REDACTED, redact_text, redacted, setup

PARENT = f"00-{'a' * 32}-{'b' * 16}-01"


@pytest.fixture
def out() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    setup("info", json=True, stream=stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def lines(out: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_a_line_is_one_json_object_with_level_and_utc_time(out: io.StringIO) -> None:
    structlog.get_logger("hub.x").info("case_reported", case="320113001001001-0123456789", n=3)
    (line,) = lines(out)
    assert line["event"] == "case_reported"
    assert line["level"] == "info"
    assert line["case"] == "320113001001001-0123456789"
    assert line["n"] == 3
    assert str(line["timestamp"]).endswith("Z")


def test_lines_below_the_level_are_left_out(out: io.StringIO) -> None:
    structlog.get_logger("hub.x").debug("noise")
    logging.getLogger("httpx").info("GET /")
    assert out.getvalue() == ""


def test_the_standard_librarys_lines_go_the_same_way(out: io.StringIO) -> None:
    logging.getLogger("some.library").warning("call %s with Bearer %s", "13812345678", "abcdef0123456789")
    (line,) = lines(out)
    assert line["event"] == f"call 138****5678 with Bearer {REDACTED}"
    assert line["logger"] == "some.library"


def test_a_line_inside_a_span_names_its_trace(out: io.StringIO) -> None:
    with telemetry.span("receive", parent=PARENT):
        structlog.get_logger("hub.x").info("here")
    assert lines(out)[0]["trace_id"] == "a" * 32
    assert lines(out)[0]["span_id"] == "b" * 16


@pytest.mark.parametrize(
    "key", ["Authorization", "token", "callback_secret", "password", "api_key", "X-Api-Key", "set-cookie", "webhook-signature"]
)
def test_values_under_secret_names_are_redacted_however_deep(out: io.StringIO, key: str) -> None:
    structlog.get_logger("hub.x").info("request", **{key: "s3cr3tvalue"}, headers={key: "s3cr3tvalue"}, list=[{"a": {key: 5}}])
    assert "s3cr3tvalue" not in out.getvalue()
    assert REDACTED in out.getvalue()


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("Authorization: Bearer hub_abcdefghijklmnop", "abcdefghijklmnop"),
        ("token hub_abcdefghijklmnop was refused", "abcdefghijklmnop"),
        ("secret is whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "MfKQ9r8"),
        ("nats://hub:pa55word@127.0.0.1:4222 gone", "pa55word"),
        ("POST /token?client_secret=pa55word&x=1", "pa55word"),
        ('{"access_token": "pa55word"}', "pa55word"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl", "eyJzdWI"),
    ],
)
def test_secrets_are_known_by_their_shape(out: io.StringIO, text: str, secret: str) -> None:
    structlog.get_logger("hub.x").warning(text, detail=text, nested=[text])
    assert secret not in out.getvalue()


def test_personal_data_is_masked_in_any_value(out: io.StringIO) -> None:
    structlog.get_logger("hub.x").info(
        "联系人：张建国 13812345678", text="座机85561234", number=13812345678, contact={"phone": "13812345678"}
    )
    assert "13812345678" not in out.getvalue()
    assert "85561234" not in out.getvalue()
    assert "张建国" not in out.getvalue()


def test_a_traceback_is_redacted_too(out: io.StringIO) -> None:
    try:
        raise ValueError("bad phone 13812345678, Bearer abcdef0123456789")
    except ValueError:
        structlog.get_logger("hub.x").exception("failed")
    (line,) = lines(out)
    assert "ValueError" in str(line["exception"])
    assert "13812345678" not in out.getvalue()
    assert "abcdef0123456789" not in out.getvalue()


def test_secret_strings_bytes_and_deep_nests_do_not_show() -> None:
    assert "pa55word" not in str(redacted({"settings": SecretStr("pa55word")}))
    assert redacted(b"pa55word") == "<8 bytes>"
    deep: dict[str, object] = {"end": "13812345678"}
    for _ in range(20):
        deep = {"next": deep}
    assert "13812345678" not in str(redacted(deep))


def test_ordinary_values_stay_what_they_are() -> None:
    event = {"n": 1, "ok": True, "none": None, "share": 0.5, "token_id": "t1", "list": [1, "x"]}
    assert redacted(event) == event


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda c: st.lists(c) | st.dictionaries(st.text(), c),
        max_leaves=10,
    )
)
def test_anything_can_be_redacted(value: object) -> None:
    json.dumps(redacted(value))


def test_text_lines_are_for_people(out: io.StringIO) -> None:
    stream = io.StringIO()
    setup("info", stream=stream)
    structlog.get_logger("hub.x").info("ready", api="http://127.0.0.1:8600")
    structlog.reset_defaults()
    assert "ready" in stream.getvalue()
    assert "http://127.0.0.1:8600" in stream.getvalue()


def test_an_unknown_level_is_a_config_error() -> None:
    with pytest.raises(ConfigError) as refused:
        setup("loud")
    assert refused.value.key == "log_level"


def test_half_a_letter_from_a_department_does_not_break_the_log() -> None:
    assert redact_text("half \ud83d").encode() == b"half ?"
