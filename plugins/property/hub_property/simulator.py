"""A property desk with simulated managers for tests and demos: `python -m hub_property.simulator --port 0 --data DIR`.

The simulator of `hub_page` with property's words and companies.
"""

from __future__ import annotations

from typing import ClassVar

from hub_page.desk.wording import Wording
from hub_page.simulator import PageSimulator

from hub_property.desk import PREFIX, WORDS

_COMPANIES: tuple[dict[str, object], ...] = (
    {"id": "yaohua", "name": "尧化物业服务有限公司", "areas": ["320113001"]},
    {"id": "yaolin", "name": "尧林仙居物业服务中心", "areas": ["320113001019"]},
    {"id": "jinyao", "name": "金尧花园物业服务处", "areas": ["320113001001", "320113001009"]},
    {"id": "baishui", "name": "百水物业管理有限公司", "areas": ["320113002"]},
    {"id": "maigaoqiao", "name": "迈皋桥物业管理有限公司", "areas": ["320113003"]},
    {"id": "mufu", "name": "幕府山庄物业服务中心", "areas": ["320113004"]},
    {"id": "xianlin", "name": "仙林物业集团", "areas": ["320113007", "320113406"]},
)


def adapter_settings(url: str, secret: str) -> dict[str, object]:
    """Adapter settings that match a running simulator: some companies of the demo district, the rest to the fallback."""
    return {"url": url, "secret": secret, "companies": _COMPANIES}


class PropertySimulator(PageSimulator):
    """Simulated property desk with managers."""

    department: ClassVar[str] = "property"
    prefix: ClassVar[str] = PREFIX
    words: ClassVar[Wording] = WORDS
    refusal: ClassVar[str] = "不属于物业服务范围"


if __name__ == "__main__":
    PropertySimulator.main()
