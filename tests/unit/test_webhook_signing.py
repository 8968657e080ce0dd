"""Standard Webhooks: the specification's own example, rotation, and everything a forger might try."""

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from hub.webhooks import (
    ATTEMPTS,
    MOST_PAYLOAD,
    RETRY_DELAYS,
    SCHEDULE,
    PayloadTooLarge,
    SecretUnusable,
    SignatureRejected,
    Signer,
    Verifier,
    check_secret,
    envelope,
    event_id,
    fitted,
    new_secret,
)

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
"""The secret of the specification's example."""
ID, AT, BODY = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
NOW = 1_700_000_000.9


def signed(secret: str = SECRET, *, id: str = "m1", body: bytes = b"{}", now: float = NOW) -> dict[str, str]:
    return Signer([secret]).headers(id, body, now=now)


def test_signature_is_that_of_the_specifications_example() -> None:
    headers = Signer([SECRET]).headers(ID, BODY, now=AT)
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert headers["webhook-timestamp"] == str(AT)
    assert Verifier([SECRET]).verify(headers, BODY, now=AT + 299) == ID


def test_what_we_sign_the_public_library_takes() -> None:
    secret, now = new_secret(), datetime.now(UTC).timestamp()
    body = '{"标题":"下水道堵塞"}'.encode()
    assert Webhook(secret).verify(body, signed(secret, body=body, now=now)) == {"标题": "下水道堵塞"}


@given(body=st.text(max_size=50).map(str.encode), id=st.from_regex(r"[!-~]{1,40}", fullmatch=True))
def test_what_is_signed_verifies_and_nothing_else_does(body: bytes, id: str) -> None:
    headers = signed(body=body, id=id)
    verifier = Verifier([SECRET])
    assert verifier.verify(headers, body, now=NOW) == id
    for forged, content in (
        (headers, body + b" "),
        (headers | {"webhook-id": id + "x"}, body),
        (headers | {"webhook-timestamp": str(int(NOW) + 1)}, body),
    ):
        with pytest.raises(SignatureRejected, match="no signature matches"):
            verifier.verify(forged, content, now=NOW)


def test_while_rotating_old_and_new_receivers_are_both_content() -> None:
    old, new = new_secret(), new_secret()
    headers = Signer([new, old]).headers("m1", b"{}", now=NOW)
    assert len(headers["webhook-signature"].split(" ")) == 2
    for secret in (old, new):
        assert Verifier([secret]).verify(headers, b"{}", now=NOW) == "m1"
    both = Verifier([new, old])
    for secret in (old, new):
        assert both.verify(signed(secret), b"{}", now=NOW) == "m1"
    with pytest.raises(SignatureRejected):
        both.verify(signed(new_secret()), b"{}", now=NOW)


@pytest.mark.parametrize("seconds", [-300, 300])
def test_time_stamps_up_to_five_minutes_off_are_taken(seconds: int) -> None:
    assert Verifier([SECRET]).verify(signed(now=int(NOW) + seconds), b"{}", now=int(NOW)) == "m1"


@pytest.mark.parametrize(("seconds", "reason"), [(-301, "too old"), (301, "too far ahead")])
def test_older_and_newer_ones_are_refused(seconds: int, reason: str) -> None:
    with pytest.raises(SignatureRejected, match=reason):
        Verifier([SECRET]).verify(signed(now=int(NOW) + seconds), b"{}", now=int(NOW))


@pytest.mark.parametrize(
    "changed",
    [
        {"webhook-signature": "v1"},
        {"webhook-signature": "v1,***"},
        {"webhook-signature": "v1,é"},
        {"webhook-signature": "v1a,AAAA"},
        {"webhook-signature": "v1,AAA"},
        {"webhook-signature": " ".join(["v1,AAAA"] * 17)},
        {"webhook-timestamp": "1700000000.5"},
        {"webhook-timestamp": "nan"},
        {"webhook-timestamp": "-1"},
        {"webhook-timestamp": "01700000000"},
        {"webhook-timestamp": "١٧٠٠٠٠٠٠٠٠"},
        {"webhook-timestamp": "9" * 30},
        {"webhook-id": "a b"},
        {"webhook-id": "a\nb"},
        {"webhook-id": "x" * 257},
        {"webhook-id": ""},
        {"webhook-signature": ""},
    ],
)
def test_malformed_headers_are_a_refusal_and_nothing_worse(changed: dict[str, str]) -> None:
    with pytest.raises(SignatureRejected):
        Verifier([SECRET]).verify(signed() | changed, b"{}", now=NOW)


def test_body_that_is_no_text_is_a_refusal() -> None:
    with pytest.raises(SignatureRejected, match="not UTF-8"):
        Verifier([SECRET]).verify(signed(), b"\xff\xfe", now=NOW)


def test_signatures_of_other_versions_are_passed_over() -> None:
    headers = signed()
    headers["webhook-signature"] = f"v1a,AAAA v2,%% {headers['webhook-signature']}"
    assert Verifier([SECRET]).verify(headers, b"{}", now=NOW) == "m1"


@pytest.mark.parametrize(
    "secret",
    ["", "abc", "whsec_", "whsec_***", f"whsec_{base64.b64encode(b'x' * 23).decode()}",
     f"whsec_{base64.b64encode(b'x' * 65).decode()}", base64.b64encode(b"x" * 32).decode()],
)  # fmt: skip
def test_secrets_of_another_form_or_length_are_refused_without_being_told(secret: str) -> None:
    for use in (check_secret, lambda one: Signer([one]), lambda one: Verifier([one])):
        with pytest.raises(SecretUnusable) as refusal:
            use(secret)
        assert len(secret) < 10 or secret.removeprefix("whsec_") not in str(refusal.value)


@pytest.mark.parametrize("length", [24, 32, 64])
def test_secrets_of_24_to_64_bytes_are_taken_with_or_without_padding(length: int) -> None:
    secret = f"whsec_{base64.b64encode(b'x' * length).decode()}"
    assert check_secret(secret) == secret
    assert check_secret(secret.rstrip("=")) == secret.rstrip("=")
    assert Verifier([secret.rstrip("=")]).verify(signed(secret), b"{}", now=NOW) == "m1"


def test_no_secret_at_all_is_refused() -> None:
    for kind in (Signer, Verifier):
        with pytest.raises(SecretUnusable):
            kind([])


def test_schedule_is_the_published_one() -> None:
    assert [delay.total_seconds() for delay in SCHEDULE] == [0, 5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400]
    assert SCHEDULE[1:] == RETRY_DELAYS
    assert ATTEMPTS == 10
    assert all(later > earlier for earlier, later in pairwise(SCHEDULE))
    assert timedelta(days=3) < sum(SCHEDULE, timedelta()) < timedelta(days=4)


def test_envelope_is_type_timestamp_data() -> None:
    at = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
    body = envelope("assignment.made", at, {"title": "路灯不亮"})
    assert body.decode() == '{"type":"assignment.made","timestamp":"2026-03-02T10:00:00+00:00","data":{"title":"路灯不亮"}}'
    assert event_id("320113001001001-01jd8x2m9qk3v5wz.a1", "made") == "320113001001001-01jd8x2m9qk3v5wz.a1.made"


def test_long_text_is_shortened_as_little_as_needed_until_the_payload_fits() -> None:
    def render(data: Mapping[str, object]) -> bytes:
        return envelope("t", datetime(2026, 3, 2, 10, 0, tzinfo=UTC), {**data, "again": data["text"]})

    body = fitted(render, {"key": "k", "text": "积水" * 10_000})
    assert MOST_PAYLOAD - 10 < len(body) <= MOST_PAYLOAD
    data = json.loads(body)["data"]
    assert data["text"].endswith("积……（全文请在指挥中心查看）") or data["text"].endswith("水……（全文请在指挥中心查看）")
    assert data["key"] == "k"
    assert fitted(render, {"text": "短"}) == render({"text": "短"})


def test_payload_that_is_too_large_without_its_text_is_refused() -> None:
    def render(data: Mapping[str, object]) -> bytes:
        return json.dumps(data, ensure_ascii=False).encode()

    for data in ({"text": "短", "place": "长" * 30_000}, {"place": "长" * 30_000}):
        with pytest.raises(PayloadTooLarge):
            fitted(render, data)
