"""The Chinese words of the pages: what a desk may say differently, what all say alike, how times are shown. Pure but for `load`."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from hub_page.desk.orders import Order, OrderState

_Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=60)]


class WordingWrong(Exception):
    """The file of words can't be used; the text names the file and the key."""


class Wording(BaseModel):
    """What one desk says in its own words; every field has a default that fits any unit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: _Line = Field("工单", description="Name of the page, in the browser's title and at the front, e.g. 园林工单.")
    dispatcher: _Line = Field("指挥中心", description="Who sends the orders and gets them back.")
    contact: _Line = Field("派单单位", description="Who hands out the links: whom to ask for a new one.")
    own: _Line = Field("本单位", description="What the people call themselves: 不属于本单位，退回工单.")
    progress_example: _Line = Field(
        "例如：人员已到场，预计两小时内完成", description="In the empty field of a progress report."
    )
    result_example: _Line = Field("写明怎样处理、结果如何", description="In the empty field of the result.")
    reasons: tuple[_Line, ...] = Field(
        (
            "不在我们的服务区域",
            "不属于我们的职责，应由其他单位处理",
            "与已处理的工单重复",
            "地址或内容不清，无法处理",
        ),
        max_length=12,
        description="Reasons to give an order back; 其他原因 always comes last.",
    )

    @property
    def choices(self) -> tuple[str, ...]:
        """The reasons as shown; the last one wants words."""
        return (*self.reasons, OTHER_REASON)

    def kind(self, word: str) -> str:
        """What happened, for the history of an order."""
        return _KINDS[word].format(dispatcher=self.dispatcher)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a TOML file; raises WordingWrong."""
        try:
            return cls.model_validate(tomllib.loads(path.read_text("utf-8")))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise WordingWrong(f"{path}: {error}") from error
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            raise WordingWrong(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error


STATES: Mapping[str, str] = {
    "received": "待签收",
    "accepted": "已签收",
    "in_progress": "处理中",
    "resolved": "已办结",
    "returned": "已退回",
    "recalled": "已撤回",
}
SEVERITIES: Mapping[str, str] = {"minor": "轻微", "ordinary": "一般", "major": "紧急", "urgent": "特急"}
_KINDS: Mapping[str, str] = {
    "received": "{dispatcher}派单",
    "accepted": "已签收",
    "progress": "进展",
    "resolved": "办结",
    "undone": "撤销办结",
    "returned": "退回",
    "recalled": "{dispatcher}撤回",
    "urged": "{dispatcher}催办",
}
OTHER_REASON = "其他原因"
DONE: Mapping[str, str] = {
    "accepted": "已签收，请尽快安排处理。",
    "progress": "进展已提交。",
    "photo": "照片已上传，请填写进展或办结。",
    "removed": "照片已移除。",
    "undone": "已撤销办结，可以继续修改后再提交。",
}
MOVED_ON = "工单已有变化，刚才的操作没有执行。请看最新情况后再操作。"
TOO_LATE = "已超过可撤销的时间，办结已经上报。"
PHOTO_PROBLEMS: Mapping[str, str] = {
    "empty": "没有选择照片，请先拍照或从相册选择。",
    "too_large": "照片超过 10 MB，请压缩后再上传。",
    "heic": "不支持 HEIC 格式。苹果手机请在“设置 › 相机 › 格式”中选择“兼容性最佳”，或截图后上传。",
    "not_an_image": "这个文件不是照片，请上传 JPG、PNG 或 WebP 图片。",
    "cut_off": "照片不完整，请重新上传。",
    "too_many": "每次最多提交 6 张照片，合计不超过 20 MB。",
}


@dataclass(frozen=True)
class Due:
    """A limit as shown."""

    text: str
    late: bool


class Clockwork:
    """Shows times in the district's zone."""

    def __init__(self, zone: tzinfo) -> None:
        self._zone = zone

    def moment(self, seconds: float, now: float) -> str:
        """`20:05` today, `11月22日 20:05` this year, else with the year."""
        at, today = self._local(seconds), self._local(now)
        if at.date() == today.date():
            return f"今天 {at:%H:%M}"
        year = f"{at.year}年" if at.year != today.year else ""
        return f"{year}{at.month}月{at.day}日 {at:%H:%M}"

    def due(self, order: Order, now: float) -> Due | None:
        """The next limit of an open order: to accept, then to finish; None without one."""
        word, field = ("签收", "accept_by") if order.state is OrderState.RECEIVED else ("办结", "finish_by")
        text = order.body.get(field)
        if not order.state.open or not text:
            return None
        at = datetime.fromisoformat(text).timestamp()
        moment = self.moment(at, now)
        return Due(f"已超时：应于{moment} 前{word}", True) if at < now else Due(f"请于{moment} 前{word}", False)

    def _local(self, seconds: float) -> datetime:
        return datetime.fromtimestamp(seconds, UTC).astimezone(self._zone)
