"""Lists of a department: read wholly, or said to be unreadable."""

from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hub_webhook import WebhookAdapter
from hub_webhook.listings import audit_of, catalogue_of
from hub_webhook.settings import AuditRules, CatalogueRules
from hub_webhook.simulator import adapter_settings

from hub import AdapterFault, Refused, StandingState
from hub.testing.kit import running_adapter
from hub.webhooks import new_secret

ZONE = ZoneInfo("Asia/Shanghai")
OWN = AuditRules(url="https://x.example.org/?p={cursor}", ticket=("/no",), state=("/zt",), states={"5": StandingState.RESOLVED})


def test_tickets_are_listed_in_the_departments_words() -> None:
    page = {"items": [{"no": 7, "zt": 5, "key": "k", "at": "2026-03-02 10:00:00"}, {"no": "8", "zt": "5"}], "next": 2}
    found = audit_of(page, OWN, ZONE)
    assert [(item.ticket, item.state, item.key) for item in found.items] == [
        ("7", StandingState.RESOLVED, "k"),
        ("8", StandingState.RESOLVED, None),
    ]
    assert found.items[0].at is not None
    assert found.items[0].at.utcoffset() is not None
    assert found.cursor == "2"


@pytest.mark.parametrize(
    "page",
    [None, {}, {"items": {}}, {"items": [{"zt": "5"}]}, {"items": [{"no": "7"}]}, {"items": [{"no": "7", "zt": "9"}]},
     {"items": [{"no": "7", "zt": "5", "at": "yesterday"}]}],
)  # fmt: skip
def test_page_that_can_only_be_read_by_half_is_a_fault(page: Any) -> None:
    with pytest.raises(AdapterFault):
        audit_of(page, OWN, ZONE)


def test_catalogue_is_codes_and_names() -> None:
    rules = CatalogueRules(url="https://x.example.org/")
    assert catalogue_of({"items": [{"code": 1, "name": "树木"}]}, rules) == {"1": "树木"}
    with pytest.raises(AdapterFault):
        catalogue_of({"items": [{"code": 1}]}, rules)


async def test_without_lists_it_says_that_nothing_can_be_compared() -> None:
    settings = adapter_settings("http://127.0.0.1:9", new_secret())
    settings = {name: value for name, value in settings.items() if name not in ("audit", "catalogue")}
    async with running_adapter(WebhookAdapter, settings) as adapter:
        with pytest.raises(Refused, match="无法对账"):
            await adapter.audit(None)
        with pytest.raises(Refused, match="分类清单"):
            await adapter.catalogue()
