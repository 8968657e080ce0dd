"""The property companies' desk: that of `hub_page` in the words of property management."""

from __future__ import annotations

from hub_page.desk.command import Flavour
from hub_page.desk.wording import Wording

WORDS = Wording(
    title="物业工单",
    contact="社区",
    own="我公司",
    progress_example="例如：维修人员已到场，预计两小时内完成",
    reasons=(
        "不在我公司服务区域",
        "不属于物业职责，应由其他单位处理",
        "与已处理的工单重复",
        "地址或内容不清，无法处理",
    ),
)
PREFIX = "WY"
"""What order numbers start with."""
FLAVOUR = Flavour(
    program="hub_property.desk",
    description="物业工单台: the phone page of property companies.",
    environment="PROPERTY_DESK",
    data="property-desk",
    prefix=PREFIX,
    words=WORDS,
)
