"""What a trial shows holds no secret in any form it travels in, and nothing personal."""

import base64
import html
import json
import re
from urllib.parse import quote, quote_plus, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.platform.trial.blotting import STRUCK, Blotter, names_secret
from hub.platform.trial.bodies import MOST_BODY, parse

SECRET = 'p&ss<"w/ö rd+1'
SECRETS = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=10, max_size=40).filter(
    lambda text: text.strip() == text and text not in STRUCK * 20
)


def every_form(secret: str, around: tuple[str, str]) -> list[str]:
    before, after = around
    return [
        secret,
        quote(secret, safe=""),
        re.sub("%..", lambda escape: escape[0].lower(), quote(secret, safe="")),
        quote_plus(secret),
        urlencode({"x": secret})[2:],
        json.dumps(secret)[1:-1],
        html.escape(secret),
        secret.encode().hex(),
        base64.b64encode(secret.encode()).decode(),
        base64.urlsafe_b64encode(f"{before}{secret}{after}".encode()).decode(),
        base64.b64encode(f"{before}{secret}{after}".encode()).decode(),
    ]


@given(SECRETS, st.tuples(st.text("abc:", max_size=7), st.text("xyz,", max_size=7)))
def test_no_form_of_a_secret_is_left(secret: str, around: tuple[str, str]) -> None:
    blotter = Blotter([secret])
    for form in every_form(secret, around):
        shown = blotter.text(f"before {form} after")
        assert form not in shown
        assert secret not in shown
        assert STRUCK in shown


def test_the_secret_part_of_a_signing_secret_is_struck_out_without_its_prefix() -> None:
    assert "c2VjcmV0" not in Blotter(["whsec_c2VjcmV0LWtleS1vZi0yNA=="]).text("key=c2VjcmV0LWtleS1vZi0yNA==")


def test_what_travels_under_a_secrets_name_is_learnt_and_struck_out_elsewhere() -> None:
    blotter = Blotter()
    session = "a1b2c3d4e5f6"
    blotter.learn_body(json.dumps({"data": {"accessToken": session}}).encode(), "application/json")
    assert blotter.url(f"https://h.test/{session}/orders?a=1") == f"https://h.test/{STRUCK}/orders?a=1"
    assert blotter.headers([("X-Trace", f"t-{session}")]) == {"x-trace": f"t-{STRUCK}"}
    assert blotter.value({"session": {"note": session, "n": 1}}) == {"session": {"note": STRUCK, "n": 1}}


@pytest.mark.parametrize(
    ("raw", "media_type"),
    [
        (b'{"client_secret": "0123456789"}', "application/json"),
        (b"grant_type=x&client_secret=0123456789", "application/x-www-form-urlencoded"),
        (b"<a><wsse:Password Type='d'>0123456789</wsse:Password></a>", "text/xml"),
        (b"<a><password><![CDATA[0123456789]]></password></a>", "text/xml"),
        (b'<a sessionId="0123456789"/>', "application/xml"),
    ],
)
def test_fields_elements_and_attributes_are_struck_out_by_name_and_learnt(raw: bytes, media_type: str) -> None:
    blotter = Blotter()
    blotter.learn_body(raw, media_type)
    assert "0123456789" not in str(blotter.body(raw, media_type))
    assert blotter.text("it was 0123456789") == f"it was {STRUCK}"


def test_headers_show_their_scheme_and_nothing_of_the_credentials() -> None:
    blotter = Blotter()
    basic = base64.b64encode(b"hub:open-sesame").decode()
    headers = [
        ("Authorization", f"Basic {basic}"),
        ("Set-Cookie", "sid=abcdefgh12; Path=/"),
        ("webhook-signature", "v1,abcdefgh"),
        ("Idempotency-Key", "k"),
        ("X-A", "1"),
        ("x-a", "2"),
    ]
    blotter.learn_headers(headers)
    assert blotter.headers(headers) == {
        "authorization": f"Basic {STRUCK}",
        "set-cookie": f"sid={STRUCK}",
        "webhook-signature": STRUCK,
        "idempotency-key": "k",
        "x-a": "1, 2",
    }
    assert blotter.text("open-sesame abcdefgh12") == f"{STRUCK} {STRUCK}"


def test_addresses_lose_user_and_secret_parameters() -> None:
    blotter = Blotter()
    shown = blotter.url("https://hub:open-sesame@h.test/a%20b?appKey=k&sign=abc&page=2&q=%E4%B8%AD")
    assert shown.startswith("https://h.test/")
    assert "open-sesame" not in shown
    assert f"appKey={STRUCK}&sign={STRUCK}&page=2" in shown


def test_personal_data_of_an_answer_is_masked_and_area_codes_stay() -> None:
    body = Blotter().body(json.dumps({"phone": "13812345678", "area": "320113001001001"}).encode(), "application/json")
    assert body.content == {"phone": "138****5678", "area": "320113001001001"}


def test_what_is_added_is_struck_out_even_when_it_is_short() -> None:
    blotter = Blotter()
    blotter.add(["张三丰", "尧佳路7号"])
    assert blotter.text("张三丰住在尧佳路7号") == f"{STRUCK}住在{STRUCK}"


@pytest.mark.parametrize("name", ["token_type", "key", "ticket", "author", "design", "expires_in", "tokenUrl", "assignment"])
def test_names_of_harmless_things_are_no_secrets(name: str) -> None:
    assert not names_secret(name)


def test_a_binary_body_with_a_secret_in_it_is_not_shown() -> None:
    blotter = Blotter(["open-sesame"])
    assert blotter.body(b"\x00\xffopen-sesame", "application/octet-stream").content is None
    assert (
        blotter.body(b"\x00\xffharmless", "application/octet-stream").content == base64.b64encode(b"\x00\xffharmless").decode()
    )


@pytest.mark.parametrize(
    ("raw", "media_type", "kind", "content"),
    [
        (b"", "application/json", "empty", None),
        (b'{"a": [1]}', "", "json", {"a": [1]}),
        (b'{"a": ', "application/json", "text", '{"a": '),
        (b"a=1&a=2&b=", "application/x-www-form-urlencoded", "form", {"a": ["1", "2"], "b": ""}),
        ("<名/>".encode(), "text/xml", "xml", "<名/>"),
        (b"x" * (MOST_BODY + 1), "text/plain", "left_out", None),
        (b"\x00\x01", "text/plain", "binary", "AAE="),
        (b"[" * 100_000, "application/json", "text", "[" * 100_000),
    ],
)
def test_a_body_is_read_as_what_it_is(raw: bytes, media_type: str, kind: str, content: object) -> None:
    found = parse(raw, media_type)
    assert (found.kind, found.content) == (kind, content)


def test_a_body_in_another_encoding_is_read_and_says_which() -> None:
    document = "<?xml version='1.0' encoding='GBK'?><a>积水</a>"
    for media_type in ("text/xml", "text/xml; charset=gbk"):
        found = parse(document.encode("gbk"), media_type)
        assert (found.kind, found.content, found.encoding) == ("xml", document, "gbk")


def test_parts_of_a_form_with_files_are_listed_without_the_files() -> None:
    raw = (
        b'--b\r\nContent-Disposition: form-data; name="key"\r\n\r\nk1\r\n'
        b'--b\r\nContent-Disposition: form-data; name="f"; filename="a.jpg"\r\nContent-Type: image/jpeg\r\n\r\n\xff\xd8\r\n--b--\r\n'
    )
    assert parse(raw, "multipart/form-data; boundary=b").content == [
        {"name": "key", "type": "text/plain", "size": 2, "content": "k1"},
        {"name": "f", "file": "a.jpg", "type": "image/jpeg", "size": 2},
    ]


@given(
    st.binary(max_size=300),
    st.sampled_from(["", "application/json", "text/xml", "multipart/form-data; boundary=b", "multipart/x"]),
)
def test_no_body_is_too_strange_to_be_shown(raw: bytes, media_type: str) -> None:
    blotter = Blotter(["open-sesame"])
    blotter.learn_body(raw, media_type)
    assert blotter.body(raw, media_type).size == len(raw)
