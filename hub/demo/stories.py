"""Stories 1 to 4, played in the demo district: a blocked sewer, noise at night, a smell of gas, a planned outage.

Each says what happens while it happens and checks that it came out right. Called by `hub.demo.run`, before the replay.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import httpx
import structlog

from hub.demo.client import Problem
from hub.demo.scenes import Scene, SceneFailed, Theatre, outcomes, part_of, states

log = structlog.get_logger("hub.demo")

DISTRICT = "320113"
STREET = "320113001"
COMMUNITY = "320113001001"
GRID = "320113001001001"
ESTATE = "尧林仙居"


async def blocked_sewer(theatre: Theatre) -> Scene:
    """Story 1: two departments and a third for its part; one system times out after accepting; reopened once."""
    scene = theatre.begin("sewer", "1 下水道堵塞: a blocked sewer")
    theatre.tell("居民一键上报，落在所在网格 (a resident reports; the case is filed under the grid)")
    case = await theatre.report(
        scene,
        role="clerk",
        unit=STREET,
        body={
            "channel": "resident",
            "title": "小区下水道堵塞，污水外溢",
            "text": f"{ESTATE}小区东门下水道堵塞，污水外溢，沿街商铺还往里倒泔水，气味难闻。",
            "area": GRID,
            "place": f"{ESTATE}小区东门",
            "position": {"longitude": 118.9172, "latitude": 32.1005, "system": "gcj02", "accuracy_m": 20, "how": "device"},
            "reported_at": datetime.now(UTC).isoformat(),
            "contact": {"name": "周女士", "phone": "13800001234"},
        },
    )
    await theatre.act(case, "grid_worker", GRID, "claim", note="网格员到场查看")
    await theatre.act(case, "grid_worker", GRID, "escalate", reason="管道深处堵塞，网格内无法解决")
    theatre.tell("社区派单: 物业主办、排水协办，倾倒污水的商铺另派城管 (the community calls three units)")
    await theatre.fault("utilities", "timeout_after_accept", count=1)
    await theatre.act(
        case,
        "clerk",
        COMMUNITY,
        "dispatch",
        targets=[
            {"unit": "property", "role": "lead", "task": "疏通小区内管道、清理污水"},
            {"unit": "drainage", "role": "support", "task": "检查接入的市政管网,必要时疏通"},
            {"unit": "city_management", "role": "lead", "task": "查处商铺倾倒污水"},
        ],
    )
    theatre.tell("排水系统收单后超时未应答 (the drainage utility takes it and never answers)")
    await _works_in_the_hub(theatre, case, "city_management", "已责令商铺停止倾倒并清理")
    found = await theatre.until(case, lambda c: c["stage"] == "resolved", "all three have resolved", within=120)
    drainage = part_of(found, "drainage")
    tickets = await theatre.tickets("utilities", f"{case}.{drainage['id']}")
    theatre.check(
        scene,
        f"收单后超时: 没有第二张工单 (timed out after accepting: one ticket only, {', '.join(tickets)})",
        len(tickets) == 1,
    )
    told = [body for _, body in await theatre.story(case) if body.get("assignment") == drainage["id"]]
    via = next((str(body["via"]) for body in told if body.get("ticket")), "")
    learned = {
        "lookup": "经查询确认 (found by asking for our key)",
        "feedback": "由部门反馈得知 (learned from its own feedback)",
    }
    theatre.check(scene, f"无应答的派单{learned.get(via, '没有确认')}", via in learned)
    await theatre.act(
        case, "operator", DISTRICT, "visit", reached="yes", solved="partly", satisfied="no", rating=2, note="又堵了"
    )
    found = await theatre.case(case)
    theatre.check(
        scene, "回访不满意，重新办理一次 (not content: reopened once)", found["reopened"] == 1 and found["stage"] != "closed"
    )
    theatre.tell("社区上报街道，街道派物业更换管段；其系统一时限流 (up to the street, which dispatches; one retry)")
    await theatre.act(case, "clerk", str(found["holder"]), "escalate", reason="管段破损，需街道协调更换")
    await theatre.fault("property", "rate_limit", count=1)
    await _dispatch_by_holder(theatre, case, [{"unit": "property", "role": "lead", "task": "更换破损管段"}])
    found = await theatre.until(case, lambda c: c["stage"] == "resolved", "property has resolved again", within=120)
    tries = outcomes(part_of(found, "property"))
    theatre.check(scene, f"限流后重试送达，共{len(tries)}次 (tried again after the time it asked for)", len(tries) == 2)
    await theatre.act(case, "operator", DISTRICT, "visit", reached="yes", solved="yes", satisfied="yes", rating=5)
    found = await theatre.until(case, lambda c: c["stage"] == "closed", "closed")
    theatre.check(scene, "回访满意，结案 (content: closed)", found["reporter_said"]["satisfied"] == "yes")
    theatre.end(scene)
    return scene


async def noise_at_night(theatre: Theatre) -> Scene:
    """Story 2: the hotline hands it over, police have it within seconds, the hotline's own order closes by itself."""
    scene = theatre.begin("noise", "2 夜间扰民: noise at night")
    theatre.tell("12345转来工单 (the hotline's system hands an order over)")
    order = await theatre.call(
        scene,
        {
            "title": "烧烤店深夜噪音扰民",
            "text": "迈皋桥广场旁烧烤店深夜播放音响、喧哗，吵得居民无法休息。",
            "place_name": "迈皋桥广场",
            "reported_at": datetime.now(UTC).isoformat(),
            "satisfied": ["满意"],
        },
    )
    case = str((await theatre.until_order(order, lambda o: bool(o["case"]), "the hub has told the hotline its case"))["case"])
    scene.cases.append(case)
    found = await theatre.until(
        case, lambda c: states(c).get("police") in ("delivered", "accepted", "in_progress", "resolved"), "police have it"
    )
    police = part_of(found, "police")
    seconds = _seconds_between(police["made_at"], police["attempts"][-1]["ended_at"])
    theatre.check(scene, f"警情 {seconds:.2f} s 内到达公安系统 (within seconds; receipt {police['ticket']})", seconds < 10)
    theatre.tell("民警到场处置并反馈 (an officer goes and reports; the result is fetched by serial number)")
    await theatre.until(case, lambda c: c["stage"] in ("resolved", "closed"), "police have reported", within=120)
    await theatre.until(case, lambda c: c["stage"] == "closed", "the hotline has asked the caller back", within=120)
    closed = await theatre.until_order(order, lambda o: o["state"] == "closed", "the hotline's order closes")
    theatre.check(scene, f"12345工单自动办结 (order {closed['order']} closed by itself)", closed["visits"] == 1)
    theatre.end(scene)
    return scene


async def smell_of_gas(theatre: Theatre) -> Scene:
    """Story 3: urgent, three departments at once; one is down: retried, the breaker opens, the operator sees it."""
    scene = theatre.begin("gas", "3 燃气泄漏: a smell of gas while the utility's system is down")
    await theatre.fault("utilities", "outage", seconds=8)
    case = await theatre.report(
        scene,
        role="clerk",
        unit=STREET,
        body={
            "channel": "resident",
            "title": "楼道里有很浓的燃气味",
            "text": f"{ESTATE}3栋楼道里有很浓的燃气味，怀疑燃气泄漏，请马上处理。",
            "area": GRID,
            "place": f"{ESTATE}3栋",
            "reported_at": datetime.now(UTC).isoformat(),
        },
    )
    found = await theatre.case(case)
    units = {part["unit"] for part in found["assignments"]}
    theatre.check(scene, "特急: 供气、公安、物业同时派单 (urgent: three at once)", {"gas", "police", "property"} <= units)
    found = await theatre.until(
        case,
        lambda c: all(states(c).get(unit) not in ("made", "sending") for unit in ("police", "property")),
        "police and property have it",
    )
    theatre.check(scene, "一家故障不影响其他 (police and property have it)", states(found)["gas"] in ("made", "sending"))
    opened = await _breaker_opens(theatre, "utilities")
    theatre.check(scene, "熔断器打开，值班员可见 (the breaker opens; the operator sees it)", opened)
    await theatre.act(case, "operator", DISTRICT, "comment", text="供气系统故障，已电话通知抢修队")
    found = await theatre.until(
        case, lambda c: states(c).get("gas") not in ("made", "sending"), "the utility is back and has it", within=90
    )
    gas = part_of(found, "gas")
    tickets = await theatre.tickets("utilities", f"{case}.{gas['id']}")
    tries = outcomes(gas)
    theatre.check(
        scene, f"恢复后送达，共{len(tries)}次投递、1张工单 (delivered when it was back, one ticket)", len(tickets) == 1
    )
    await theatre.until(case, lambda c: c["stage"] == "resolved", "all three have resolved", within=120)
    await theatre.act(case, "operator", DISTRICT, "visit", reached="yes", solved="yes", satisfied="yes", rating=5)
    found = await theatre.until(case, lambda c: c["stage"] == "closed", "closed")
    theatre.check(scene, "处置完毕，结案 (closed)", found["stage"] == "closed")
    theatre.end(scene)
    return scene


async def planned_outage(theatre: Theatre) -> Scene:
    """Story 4: the utility's notice opens a case before anybody calls; later calls attach to it."""
    scene = theatre.begin("outage", "4 计划停水: a planned outage, dealt with before anybody complains")
    begins = datetime.now(UTC)
    ref = f"TS-{theatre.run}"
    answer = await theatre.simulators["utilities"].post(
        "/_sim/outages",
        json={
            "ref": ref,
            "kind": "water",
            "areas": ["320113007003"],
            "starts_at": begins.isoformat(),
            "ends_at": (begins + timedelta(hours=6)).isoformat(),
            "reason": "管网改造",
        },
    )
    answer.raise_for_status()
    theatre.tell("供水公司发布停水通知，尚无来电 (the utility's notice opens a case)")
    case = await _case_of_notice(theatre, ref)
    scene.cases.append(case)
    theatre.check(scene, "未诉先办: 通知先立案 (a case before anybody called)", True)
    orders = [
        await theatre.call(
            scene,
            {"title": "家里停水了", "text": f"仙林中心附近小区{hour}点起停水，什么时候恢复？", "area": "320113007003"},
        )
        for hour in (8, 9, 10)
    ]
    attached = [
        str((await theatre.until_order(order, lambda o: bool(o["case"]), "the call has a case"))["case"]) for order in orders
    ]
    theatre.check(scene, f"{len(orders)}个来电并入同一事件 (later calls attach to it)", set(attached) == {case})
    found = await theatre.case(case)
    await theatre.act(case, "clerk", str(found["holder"]), "claim", note="已通过网格群告知居民")
    await theatre.act(case, "clerk", str(found["holder"]), "settle", note="已恢复供水")
    found = await theatre.until(case, lambda c: c["stage"] in ("resolved", "closed"), "settled")
    theatre.check(scene, "恢复供水后办结 (settled once the water is back)", True)
    theatre.end(scene)
    return scene


STORIES: tuple[Callable[[Theatre], Awaitable[Scene]], ...] = (blocked_sewer, noise_at_night, smell_of_gas, planned_outage)


async def play_all(theatre: Theatre) -> list[Scene]:
    """Play the stories one after the other; one that fails is said to have failed and the next begins."""
    played: list[Scene] = []
    for story in STORIES:
        try:
            played.append(await story(theatre))
        except (SceneFailed, Problem, httpx.HTTPError) as problem:
            failed = Scene(name=story.__name__, title=story.__doc__ or "")
            theatre.check(failed, str(problem) or type(problem).__name__, False)
            played.append(failed)
    return played


async def _works_in_the_hub(theatre: Theatre, case: str, unit: str, result: str) -> None:
    """A department without a system of its own accepts and resolves in the hub."""
    part = part_of(await theatre.case(case), unit)["id"]
    await theatre.act(case, "department", unit, "accept", assignment=part, note="已签收")
    await theatre.act(case, "department", unit, "progress", assignment=part, note="执法人员已到场")
    await theatre.act(case, "department", unit, "resolve", assignment=part, note=result)


async def _dispatch_by_holder(theatre: Theatre, case: str, targets: list[dict[str, str]]) -> None:
    """Whoever holds the case now dispatches it."""
    found = await theatre.case(case)
    role = {"grid": "grid_worker", "district": "operator"}.get(str(found["level"]), "clerk")
    await theatre.act(case, role, str(found["holder"]), "dispatch", targets=targets)


async def _breaker_opens(theatre: Theatre, adapter: str, *, within: float = 20.0) -> bool:
    give_up = asyncio.get_running_loop().time() + within
    while (await theatre.adapter(adapter))["breaker"] == "closed":
        if asyncio.get_running_loop().time() > give_up:
            return False
        await asyncio.sleep(0.05)
    return True


async def _case_of_notice(theatre: Theatre, ref: str, *, within: float = 60.0) -> str:
    """The case of the utility's notice `ref`; raises SceneFailed."""
    give_up = asyncio.get_running_loop().time() + within
    while asyncio.get_running_loop().time() < give_up:
        page = await theatre.hub.get("/cases", token=theatre.admin, channel="department", limit=20)
        for row in page["items"]:
            source = (await theatre.case(str(row["id"])))["source"]
            if source is not None and source["ref"] == ref:
                return str(row["id"])
        await asyncio.sleep(0.2)
    raise SceneFailed(f"no case of the notice within {within:.0f} s")


def _seconds_between(first: str, second: str) -> float:
    return (datetime.fromisoformat(second) - datetime.fromisoformat(first)).total_seconds()
