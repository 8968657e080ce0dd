"""What dispatch would do after an error, in words and figures. Pure; the rules are dispatch's own (hub.spine.dispatch)."""

from __future__ import annotations

from hub.contract import AdapterInstance, Capability, Manifest
from hub.errors import HubError, Unavailable
from hub.platform.trial.values import Next
from hub.spine.dispatch.follow_up import Doing, NextStep, follow_up

_DOING = {"deliver": Doing.DELIVER, "lookup": Doing.ASK}


def next_step(instance: AdapterInstance, manifest: Manifest, call: str, problem: HubError) -> Next:
    """What follows on `problem` of the first attempt at `call`."""
    if call == "start":
        return Next(what="operator", text="实例不能启动：登记或变更会被拒绝，运行中的转为故障，由操作员处理")
    doing = _DOING.get(call, Doing.EFFECT)
    soonest = follow_up(problem, instance, doing=doing, tries=1, draw=lambda: 0.0)
    latest = follow_up(problem, instance, doing=doing, tries=1, draw=lambda: 1.0)
    if call == "health" and soonest.next is not NextStep.SHUT_OUT:
        return Next(what="again", text="健康检查不占投递次数：登记或变更会被拒绝（--untried 除外），暂停中的适配器稍后再问")
    if soonest.next is NextStep.SHUT_OUT:
        return Next(what="pause", text="该适配器将暂停，不消耗投递次数；更换凭据或由操作员恢复后继续")
    if soonest.next is NextStep.REFUSED or soonest.counts_as:
        return Next(what="operator", text="对方明确拒收，转操作员处理，不再重试")
    attempts = soonest.most
    low, high = soonest.delay.total_seconds(), latest.delay.total_seconds()
    after = (round(low, 1), round(high, 1))
    when = f"{_seconds(low)}–{_seconds(high)} 秒后" if high > low else f"{_seconds(low)} 秒后"
    if isinstance(problem, Unavailable) and problem.retry_after is not None:
        when = f"{when}（不早于对方要求的 {_seconds(problem.retry_after.total_seconds())} 秒）"
    most = f"最多 {attempts} 次，用尽后转死信"
    if doing is not Doing.DELIVER or not soonest.unknown:
        return Next(what="again", text=f"{when}再试，{most}", after=after, attempts=attempts)
    if Capability.LOOKUP in manifest.capabilities:
        text = f"结果不明：{when}先按键向对方查询，确认没有收到才再次投递；{most}"
        return Next(what="lookup", text=text, after=after, attempts=attempts)
    if Capability.IDEMPOTENT in manifest.capabilities:
        text = f"结果不明：{when}用同一个键再次投递，对方按键去重；{most}"
        return Next(what="again", text=text, after=after, attempts=attempts)
    return Next(what="operator", text="结果不明，对方既不能查询也不去重：转操作员核实，不会盲目重发")


def _seconds(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
