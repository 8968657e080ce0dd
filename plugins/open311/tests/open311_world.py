"""An Open311 client over a hub without a bus, for the tests of the server."""

from pathlib import Path
from typing import Any

import httpx
from hub_open311.server import SERVER

from hub.model.actors import SYSTEM
from hub.model.case.commands import Settle
from hub.model.case.state import CaseId
from hub.platform.adapters.mounts import configured
from tests.unit.api_world import World

LAMP = "P0102"
ROOT = "http://hub/open311/v2"
WHERE = {"lat": "32.1031234", "long": "118.9123456", "address_string": "尧化街道尧佳路7号3栋"}


def serve(folder: Path, **settings: Any) -> World:
    return World.make(folder, mounts=configured([SERVER], {SERVER.name: settings}))


async def get(world: World, path: str, **query: str) -> httpx.Response:
    return await world.client.get(f"{ROOT}/{path}", params=query)


async def post(world: World, form: dict[str, Any], path: str = "requests.json", **headers: str) -> httpx.Response:
    return await world.client.post(f"{ROOT}/{path}", data=form, headers=headers)


async def report(world: World, who: str = "admin", **fields: str) -> str:
    form = {"api_key": world.secrets[who], "service_code": LAMP, "description": "路灯不亮已经三天", **WHERE, **fields}
    answer = await post(world, form)
    assert answer.status_code == 200, answer.text
    return str(answer.json()[0]["service_request_id"])


async def settle(world: World, id: str) -> None:
    await world.desk.execute(CaseId(id), Settle(note="灯泡已更换"), actor=SYSTEM)
    await world.views.wait_for(len(world.ledger.stored), 5)


def category_of(world: World, beginning: str) -> str:
    return next(category.code for category in world.district.policy.categories if category.code.startswith(beginning))
