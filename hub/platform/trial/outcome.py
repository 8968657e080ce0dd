"""What a trial came to: one word, one sentence for operators, and whether the instance can take traffic. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from hub.platform.trial.values import Call


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """As `hub.platform.trial.values.Trial` has it."""

    word: str
    text: str
    ok: bool


def outcome_of(calls: Sequence[Call], *, handed: bool, ticket: str | None, can_recall: bool, recall: bool = True) -> Outcome:
    """The outcome of a trial's calls. `handed`: the trial was to hand a sample over. `recall`: and to take it back.

    A plugin's fault on the way is never well, even if dispatch would come to an end all the same.
    """
    found = _outcome(calls, handed=handed, ticket=ticket, can_recall=can_recall, recall=recall)
    fault = next((call.problem for call in calls if call.problem is not None and call.problem.disposition == "fault"), None)
    if found.ok and fault is not None:
        return replace(found, ok=False, text=f"{found.text}；但插件出错：{fault.message}")
    return found


def _outcome(calls: Sequence[Call], *, handed: bool, ticket: str | None, can_recall: bool, recall: bool) -> Outcome:
    start = next((call for call in calls if call.call == "start"), None)
    if start is not None and not start.ok:
        return Outcome(word="unusable", text=f"启动失败：{_why(start)}", ok=False)
    health = next((call for call in calls if call.call == "health"), None)
    healthy = health is not None and health.ok
    unwell = "" if healthy else "；但健康检查未通过"
    if not handed:
        if healthy:
            return Outcome(word="usable", text="健康检查通过，对方系统可用", ok=True)
        return Outcome(word="unusable", text=f"健康检查未通过：{_why(health)}", ok=False)
    if ticket is None:
        return _not_filed([call for call in calls if call.call in ("deliver", "lookup")])
    looked = [call for call in calls if call.call == "lookup" and call.result is not None]
    found = (looked[-1].result or {}).get("ticket") if looked else None
    if looked and found != ticket:
        what = "查不到" if found is None else f"得到另一个工单号 {found}"
        return Outcome(word="unsure", text=f"样件已投递，工单号 {ticket}，但按键查询{what}", ok=False)
    failed = next((call for call in calls if call.call == "lookup" and call.problem is not None), None)
    if not looked and failed is not None:
        return Outcome(word="unsure", text=f"样件已投递，工单号 {ticket}，但按键查询失败：{_why(failed)}", ok=False)
    if not recall:
        return Outcome(word="filed", text=f"样件已投递，工单号 {ticket}；按要求未撤回{unwell}", ok=healthy)
    if not can_recall:
        text = f"样件已投递，工单号 {ticket}；对方不支持撤回，请通知对方作废{unwell}"
        return Outcome(word="filed", text=text, ok=healthy)
    recalled = next((call for call in reversed(calls) if call.call == "recall"), None)
    if recalled is None or not recalled.ok:
        text = f"样件已投递，工单号 {ticket}，但撤回失败：{_why(recalled)}；请通知对方作废"
        return Outcome(word="left_behind", text=text, ok=False)
    return Outcome(word="recalled", text=f"样件已投递并撤回，工单号 {ticket}{unwell}", ok=healthy)


def _not_filed(calls: Sequence[Call]) -> Outcome:
    last = calls[-1] if calls else None
    problem = next((call.problem for call in reversed(calls) if call.call == "deliver" and call.problem is not None), None)
    if problem is not None and problem.disposition == "refuse":
        return Outcome(word="refused", text=f"对方拒收样件：{problem.message}", ok=False)
    if problem is not None and problem.disposition in ("unknown", "fault"):
        gone = last is not None and last.call == "lookup" and (last.result or {}).get("found") is False
        if not gone:
            text = f"样件是否到达不明，请向对方核实：{problem.message}"
            return Outcome(word="unsure", text=text, ok=False)
    return Outcome(word="not_filed", text=f"样件未能投递：{problem.message if problem is not None else ''}", ok=False)


def _why(call: Call | None) -> str:
    if call is None:
        return "没有调用"
    if call.problem is not None:
        return call.problem.message
    return str((call.result or {}).get("detail") or "没有说明")
