"""Settings that can't work are refused when they are read, with the place and without the secret."""

import pytest
from hub_webhook import WebhookSettings
from pydantic import ValidationError

from hub.contract import AdapterSettings
from hub.webhooks import new_secret

OLD = new_secret()


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"secret": ""}, "secret"),
        ({"secret": "abc"}, "whsec_"),
        ({"previous_secret": "whsec_YWJj"}, "24 to 64 bytes"),
        ({"url": "http://hook.example.org/"}, "only https"),
        ({"url": "https://10.0.0.1/"}, "private"),
        ({"url": "https://169.254.169.254/latest"}, "metadata"),
        ({"url": "https://user:pass@hook.example.org/"}, "passwords"),
        ({"lookup_url": "https://hook.example.org/orders"}, "{key}"),
        ({"lookup_url": "https://{key}.example.org/"}, "path or the query"),
        ({"health_url": "https://192.168.0.1/"}, "health_url"),
        ({"headers": {"webhook-id": "x"}}, "webhook-id can't be set"),
        ({"headers": {"Host": "x"}}, "Host can't be set"),
        ({"headers": {"X": "a\r\nB: c"}}, "no header value"),
        ({"bodies": {"made": "{{ title"}}, "line 1"),
        ({"bodies": {"made": "{{ no_such_field }}"}}, "no_such_field"),
        ({"bodies": {"made": '{"t": "{{ title }}"}'}}, "tojson"),
        ({"bodies": {"made": "{{ title.__class__ | tojson }}"}}, "unsafe"),
        ({"bodies": {"made": "{{ ('x' * 9) | tojson }}"}}, "not for templates"),
        ({"bodies": {"made": "{{ cycler('a') }}"}}, "cycler"),
        ({"answers": {"ticket": ["ticket"]}}, "JSON pointer"),
        ({"answers": {"refused_statuses": [410]}}, "410 has a meaning"),
        ({"zone": "Mars/Base"}, "no such time zone"),
        ({"media_type": "nonsense"}, "content type"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_settings_that_can_not_work_are_refused_with_their_place(changes: dict[str, object], where: str) -> None:
    given = {"url": "https://hook.example.org/in", "secret": OLD, **changes}
    with pytest.raises(ValidationError) as refusal:
        WebhookSettings.model_validate(given)
    said = "; ".join(
        f"{'.'.join(map(str, one['loc']))}: {one['msg']}"
        for one in refusal.value.errors(include_input=False, include_url=False)
    )
    assert where in said
    assert OLD.removeprefix("whsec_") not in said


def test_smallest_settings_are_an_address_and_a_secret() -> None:
    made = WebhookSettings.model_validate({"url": "https://hook.example.org/in", "secret": OLD})
    assert isinstance(made, AdapterSettings)
    assert made.events.urged == "assignment.urged"
