"""What is property's own: companies by area, its words, its settings as they always were. The rest is tested in plugins/page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hub_page.desk.command import main
from hub_property import PropertyAdapter, PropertySettings
from hub_property.desk import FLAVOUR, WORDS
from hub_property.simulator import adapter_settings
from pydantic import ValidationError

from hub.testing.kit import running_adapter, sample_assignment
from hub.testing.process import SimulatorProcess

SECRET = "property-test-secret"


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[SimulatorProcess]:
    with SimulatorProcess("hub_property.simulator", tmp_path / "p", secret=SECRET, options=("--idle",)) as process:
        yield process


async def test_company_of_the_area_gets_the_order(desk: SimulatorProcess) -> None:
    async with running_adapter(PropertyAdapter, adapter_settings(desk.url, SECRET), timeout=5) as adapter:
        receipts = [
            await adapter.deliver(sample_assignment(unit="property", area=area))
            for area in ("320113001019001", "320113001001001", "320113010001001")
        ]
    assert [ticket["unit"] for ticket in desk.tickets()] == ["yaolin", "jinyao", "district"]
    assert [receipt.ticket for receipt in receipts] == ["WY00000001", "WY00000002", "WY00000003"]


def test_settings_are_those_of_ever() -> None:
    companies = [{"id": "a", "name": "甲物业", "areas": [320113001019]}]
    settings = PropertySettings.model_validate({"url": "http://desk", "secret": "s", "companies": companies})
    assert settings.companies[0].areas == ("320113001019",)
    assert (settings.fallback.id, settings.fallback.name) == ("district", "区物业管理中心")
    assert "'s'" not in repr(settings)


@pytest.mark.parametrize(
    "companies",
    [
        [{"id": "a", "name": "甲", "areas": ["320113001"]}, {"id": "b", "name": "乙", "areas": ["320113001"]}],
        [{"id": "a", "name": "甲"}, {"id": "a", "name": "乙"}],
        [{"id": "a", "name": "甲", "areas": ["3201130"]}],
        [{"id": "A B", "name": "甲"}],
    ],
)
def test_ambiguous_table_is_refused_at_start(companies: list[dict[str, Any]]) -> None:
    with pytest.raises(ValidationError):
        PropertySettings.model_validate({"url": "http://desk", "secret": "s", "companies": companies})


def test_page_speaks_the_companies_language() -> None:
    assert (WORDS.title, WORDS.own, WORDS.choices[1]) == ("物业工单", "我公司", "不属于物业职责，应由其他单位处理")


def test_desk_is_started_with_the_variables_it_always_had(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = ["--data", str(tmp_path)]
    assert main(FLAVOUR, [*data, "link", "jinyao", "金尧花园物业服务处"], environment={}) == 0
    assert "/p/jinyao/" in capsys.readouterr().out
    assert main(FLAVOUR, data, environment={}) == 2
    assert "PROPERTY_DESK_SECRET is not set" in capsys.readouterr().err
