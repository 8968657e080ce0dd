"""The Chinese words for stored English values: one table, so that every place says the same. Pure.

Keys are the stored values. Every display for people (command line, interface, messages to units, repairs) looks here. Terms:
docs/glossary.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

STAGES: Final[Mapping[str, str]] = {
    "reported": "已登记",
    "held": "受理中",
    "dispatched": "已派单",
    "resolved": "已办结",
    "closed": "已结案",
    "void": "已作废",
    "merged": "已并案",
}
"""How far a case is."""

SEVERITIES: Final[Mapping[str, str]] = {"minor": "轻微", "ordinary": "一般", "major": "较大", "urgent": "紧急"}

CHANNELS: Final[Mapping[str, str]] = {
    "hotline": "12345热线",
    "patrol": "网格巡查",
    "resident": "一键上报",
    "device": "物联感知",
    "superior": "上级交办",
    "whistle": "吹哨",
    "department": "部门来件",
}
"""How a report came in."""

LEVELS: Final[Mapping[str, str]] = {"grid": "网格", "community": "社区", "street": "街道", "district": "区"}

UNITS: Final[Mapping[str, str]] = {
    "centre": "区指挥中心",
    "street": "街道",
    "community": "社区",
    "grid": "网格",
    "department": "职能部门",
}
"""What kind of unit one is."""

SYSTEMS: Final[Mapping[str, str]] = {
    "wgs84": "WGS-84",
    "cgcs2000": "CGCS2000",
    "gcj02": "GCJ-02（火星坐标）",
    "bd09": "BD-09（百度）",
}
"""The coordinate systems everybody knows; a district's planes go by their own names."""

HOW: Final[Mapping[str, str]] = {"device": "设备测得", "person": "人工标注", "geocoded": "地址解析"}
"""How a position came about."""

GRIDS: Final[Mapping[str, str]] = {"residential": "居住网格", "commercial": "商业网格"}

ROLES: Final[Mapping[str, str]] = {"lead": "主办", "support": "协办"}
"""What a unit has to do with a matter."""

ASSIGNMENTS: Final[Mapping[str, str]] = {
    "made": "待投递",
    "sending": "投递中",
    "delivered": "已送达",
    "accepted": "已签收",
    "in_progress": "办理中",
    "resolved": "已办结",
    "returned": "已退单",
    "refused": "被拒收",
    "uncertain": "待核实",
    "dead": "死信",
    "dropped": "已放弃",
    "recalled": "已撤回",
}
"""How far an assignment is."""

LIMITS: Final[Mapping[str, str]] = {
    "first_response": "首次响应时限",
    "resolve": "办结时限",
    "accept": "签收时限",
    "finish": "办理时限",
}
"""The limits: of a matter until a first response and until it is resolved; of an assignment until it is accepted and until it is done."""

REACHED: Final[Mapping[str, str]] = {"yes": "接通", "no": "未接通", "refused": "拒访"}
"""Whether the reporter was reached."""

SOLVED: Final[Mapping[str, str]] = {"yes": "已解决", "partly": "部分解决", "no": "未解决", "not_asked": "未询问"}
"""Whether it is solved."""

SATISFIED: Final[Mapping[str, str]] = {"yes": "满意", "mostly": "基本满意", "no": "不满意", "not_rated": "未评价"}
"""Whether the reporter is content."""

ANSWERS: Final[Mapping[str, Mapping[str, str]]] = {"reached": REACHED, "solved": SOLVED, "satisfied": SATISFIED}
"""By what was asked."""

CLOSINGS: Final[Mapping[str, str]] = {"normal": "正常结案", "late": "超时结案", "faulty": "差错结案", "special": "特殊结案"}
"""How a case was closed."""

SAYINGS: Final[Mapping[str, str]] = {
    "accepted": "签收",
    "progress": "进展",
    "resolved": "办结",
    "returned": "退单",
    "visited": "回访",
}
"""What a department says of an assignment."""

NOTICES: Final[Mapping[str, str]] = {
    "taken": "您反映的事项已受理，正在办理。",
    "resolved": "您反映的事项已办理完毕，我们将进行回访。",
    "closed": "您反映的事项已结案，感谢您的反映。",
    "void": "您反映的事项经核实不予办理或无需办理，已作结束处理。",
    "reopened": "您反映的事项已重新办理。",
    "merged": "您反映的事项已并入同一事项继续办理。",
}
"""The message to the reporter at each stage; nothing personal, no departmental internals."""

NEWS: Final[Mapping[str, str]] = {
    "case.held": "您反映的事项已受理，正在核查。",
    "assignment.made": "已派单至承办单位。",
    "assignment.accepted": "承办单位已签收。",
    "assignment.progressed": "承办单位正在办理。",
    "clock.suspended": "因故暂缓办理。",
    "clock.resumed": "恢复办理。",
    "case.resolved": NOTICES["resolved"],
    "case.closed": NOTICES["closed"],
    "case.reopened": NOTICES["reopened"],
    "case.voided": NOTICES["void"],
    "case.merged": NOTICES["merged"],
}
"""What everybody may be told of a case, by event."""

STANDINGS: Final[Mapping[str, str]] = {
    "reported": "已登记，等待受理。",
    "held": "已受理，正在核查处理。",
    "dispatched": "已派单，承办单位正在办理。",
    "resolved": "已办理完毕，等待回访。",
    "closed": "已结案。",
    "void": "经核实不予办理或无需办理，已作结束处理。",
    "merged": "已并入同一事项继续办理。",
    "suspended": NEWS["clock.suspended"],
    "reopened": "已重新办理。",
}
"""A case's standing for everybody: its stage, or a sentence in its place."""
