"""The Chinese words of the pages, and how times and limits are shown. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo

from hub_property.desk.orders import Order, OrderState

STATES: Mapping[str, str] = {
    "received": "待签收",
    "accepted": "已签收",
    "in_progress": "处理中",
    "resolved": "已办结",
    "returned": "已退回",
    "recalled": "已撤回",
}
SEVERITIES: Mapping[str, str] = {"minor": "轻微", "ordinary": "一般", "major": "紧急", "urgent": "特急"}
KINDS: Mapping[str, str] = {
    "received": "指挥中心派单",
    "accepted": "已签收",
    "progress": "进展",
    "resolved": "办结",
    "returned": "退回",
    "recalled": "指挥中心撤回",
    "urged": "指挥中心催办",
}
REASONS = (
    "不在我公司服务区域",
    "不属于物业职责，应由其他单位处理",
    "与已处理的工单重复",
    "地址或内容不清，无法处理",
    "其他原因",
)
OTHER_REASON = len(REASONS) - 1
DONE: Mapping[str, str] = {
    "accepted": "已签收，请尽快安排处理。",
    "progress": "进展已提交。",
    "photo": "照片已上传，请填写进展或办结。",
    "removed": "照片已移除。",
}
MOVED_ON = "工单已有变化，刚才的操作没有执行。请看最新情况后再操作。"
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
