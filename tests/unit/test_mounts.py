"""Plugins' own routes: where they may be, what is wrong with their settings, and that the hub's limits and rights hold in them."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp

from hub import Channel, IncomingCase, InvalidInput, Mount, MountSettings, NotAllowed, Publishing, Reception
from hub.errors import ConfigError, PluginError
from hub.platform.adapters.mounts import configured
from hub.platform.adapters.plugins import Plugins, _check_mount
from hub.settings import ApiSettings, Settings
from tests.unit.api_world import START, World
from tests.unit.test_plugins import install, installed

__all__ = ["installed"]


class LampSettings(MountSettings):
    colour: str = "yellow"
    per_minute: int = Field(5, ge=1)
    streets: tuple[str, ...] = ()


def lamps(reception: Reception, settings: LampSettings) -> ASGIApp:
    async def report(request: Request) -> Response:
        visitor = await reception.visitor(request.scope, request.headers.get("x-key"), Publishing())
        if visitor is None:
            raise NotAllowed("no such key")
        ref, text = (await request.body()).decode().split(" ", 1)
        if not text:
            raise InvalidInput("is missing", subject="text")
        case = IncomingCase(ref=ref, channel=Channel.RESIDENT, title=text, text=text, reported_at=START)
        filed = await visitor.report(case)
        return JSONResponse([filed.case, [shown.id for shown in await visitor.cases([filed.case])]])

    async def judge(request: Request) -> Response:
        visitor = await reception.visitor(request.scope, request.headers.get("x-key"), Publishing())
        assert visitor is not None
        await visitor.comment(request.path_params["case"], "k", (await request.body()).decode() or "还是不亮")
        return PlainTextResponse(settings.colour)

    routes = [Route("/reports", report, methods=["POST"]), Route("/{case}/word", judge, methods=["POST"])]
    return Router([*routes, Route("/broken", lambda request: 1 / 0)])


LAMPS = Mount(name="lamps", build=lamps, settings=LampSettings)


def world_with(folder: Path, mount: Mount[Any] = LAMPS, api: ApiSettings | None = None, **settings: Any) -> World:
    return World.make(folder, settings=api, mounts=configured([mount], {mount.name: settings}))


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with world_with(tmp_path) as opened:
        yield opened


async def post(world: World, path: str, body: str = "", who: str | None = None) -> httpx.Response:
    headers = {"x-key": world.secrets.get(who, who)} if who else {}
    return await world.client.post(f"http://hub/lamps/{path}", content=body, headers=headers)


async def test_a_mount_reports_once_for_a_ref_and_reads_what_it_wrote(world: World) -> None:
    (case, shown) = (await post(world, "reports", "1 路灯不亮", "street")).json()
    assert shown == [case]
    assert (await post(world, "reports", "1 路灯不亮", "street")).json()[0] == case
    assert (await post(world, "reports", "1 路灯不亮", "admin")).json()[0] != case, "another visitor's ref is another"
    assert (await post(world, "reports", "1 路灯不亮")).json()[0] != case
    assert {commit.actor.name for commit in world.ledger.all()} == {"street", "admin", "lamps anonymous"}


async def test_rights_hold_whatever_a_mount_asks_for(world: World) -> None:
    (case, _) = (await post(world, "reports", "1 路灯不亮", "street")).json()
    elsewhere = str((await world.report())["id"])
    await world.views.wait_for(len(world.ledger.stored), 5)
    refused = [
        ("reports", "2 x", "viewer"),
        ("reports", "2 x", "nonsense"),
        (f"{case}/word", "", "viewer"),
        (f"{case}/word", "", None),
    ]
    refused += [(f"{elsewhere}/word", "", "street")]
    for path, body, who in refused:
        assert (await post(world, path, body, who)).status_code == 404, (path, who)
    assert (await post(world, f"{case}/word", "", "street")).text == "yellow"
    assert world.ledger.all()[-1].command == "comment"


async def test_errors_of_a_mount_are_answered_as_the_hubs_own(world: World) -> None:
    answer = await post(world, "reports", "1 ", "street")
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "text")
    assert (await world.client.get("http://hub/lamps/broken")).json()["type"] == "urn:hub:problem:internal"
    assert (await world.client.get("http://hub/lamps/nothing")).status_code == 404


async def test_limits_of_the_hub_hold_in_a_mount(tmp_path: Path) -> None:
    async with world_with(tmp_path, api=ApiSettings(max_body=100, rate_per_minute=3)) as world:
        assert (await post(world, "reports", "1" * 101)).status_code == 413
        assert (await post(world, "reports", "1 x")).status_code == 200
        assert [(await post(world, "reports", f"{number} x")).status_code for number in (2, 3)] == [200, 429]


async def test_a_refusal_is_said_in_the_mounts_own_words_or_else_in_the_hubs(tmp_path: Path) -> None:
    own = Mount(
        name="lamps",
        build=lamps,
        settings=LampSettings,
        refusal=lambda path, status, _: ("text/x", f"{path} {status}".encode()),
    )
    async with world_with(tmp_path / "own", own, api=ApiSettings(max_body=9)) as world:
        answer = await post(world, "reports", "1" * 10)
        assert (answer.status_code, answer.text, answer.headers["content-type"]) == (
            413,
            "/lamps/reports 413",
            "text/x; charset=utf-8",
        )
        for path in ("/lampshade", "/api/v1/lamps"):
            answer = await world.client.post(f"http://hub{path}", content="1" * 10)
            assert answer.headers["content-type"] == "application/problem+json", path
    broken = Mount(name="lamps", build=lamps, settings=LampSettings, refusal=lambda *_: 1 / 0)  # type: ignore[arg-type, return-value]
    async with world_with(tmp_path / "broken", broken, api=ApiSettings(max_body=9)) as world:
        assert (await post(world, "reports", "1" * 10)).json()["type"] == "urn:hub:problem:too-large"


async def test_a_mount_that_is_off_does_not_answer(tmp_path: Path) -> None:
    async with world_with(tmp_path, enabled=False) as world:
        assert (await post(world, "reports", "1 x")).status_code == 404


def unusable(reception: Reception, settings: MountSettings) -> ASGIApp:
    raise RuntimeError("no licence")


@pytest.mark.parametrize(
    ("mount", "rule"),
    [
        (Mount(name="api", build=lamps, settings=LampSettings), "can't be at /api: the hub answers there itself"),
        *(
            (Mount(name=name, build=lamps, settings=LampSettings), f"can't be at /{name}")
            for name in ("hooks", "healthz", "v1")
        ),
        (Mount(name="readyz", build=lamps, settings=LampSettings), "can't be at /readyz"),
        (
            Mount(name="lamps", build=unusable, settings=LampSettings),
            "the routes lamps can't be built: RuntimeError: no licence",
        ),
        (Mount(name="lamps", build=lambda *_: None, settings=LampSettings), "are a NoneType, an ASGI application is expected"),  # type: ignore[arg-type, return-value]
    ],
)
def test_a_mount_that_can_not_be_there_is_refused_at_start(tmp_path: Path, mount: Mount[Any], rule: str) -> None:
    with pytest.raises(PluginError, match=rule):
        world_with(tmp_path, mount)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"lamp": {}}, r"routes.lamp: no plugin brings such routes \(installed: lamps\)"),
        ({"lamps": {"color": "red"}}, "routes.lamps.color: Extra inputs are not permitted"),
        ({"lamps": {"per_minute": 0}}, "routes.lamps.per_minute: Input should be greater than"),
    ],
)
def test_wrong_settings_are_refused_naming_the_setting(given: dict[str, dict[str, object]], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        configured([LAMPS], given)


def test_settings_of_a_mount_come_from_where_the_hubs_own_come_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hub.toml").write_text('[routes.lamps]\ncolour = "red"\nper_minute = 7\n', encoding="utf-8")
    monkeypatch.setenv("HUB_ROUTES__LAMPS__PER_MINUTE", "9")
    monkeypatch.setenv("HUB_ROUTES__LAMPS__STREETS", '["尧化", "迈皋桥"]')
    monkeypatch.setenv("HUB_ROUTES__LAMPS__ENABLED", "false")
    (mounted,) = configured([LAMPS], Settings(data=tmp_path).routes)
    assert mounted.settings == LampSettings(enabled=False, colour="red", per_minute=9, streets=("尧化", "迈皋桥"))
    monkeypatch.setenv("HUB_ROUTES__LAMPS__COLOUR", "2024")
    (mounted,) = configured([LAMPS], Settings(data=tmp_path).routes)
    assert mounted.settings == LampSettings(enabled=False, colour="2024", per_minute=9, streets=("尧化", "迈皋桥"))


WITH_ROUTES = """
from hub import Mount, MountSettings, hookimpl

@hookimpl
def hub_routes():
    return [Mount(name="NAME", build=lambda reception, settings: None, settings=MountSettings)]
"""


def test_routes_of_an_installed_plugin_are_found(installed: Path) -> None:
    install(installed, "four", WITH_ROUTES.replace("NAME", "lamps"))
    assert "lamps" in [mount.name for mount in Plugins().mounts]
    install(installed, "five", WITH_ROUTES.replace("NAME", "lamps"))
    with pytest.raises(PluginError, match="two plugins bring routes named lamps"):
        Plugins()


def test_routes_without_a_proper_name_are_refused(installed: Path) -> None:
    install(installed, "six", WITH_ROUTES.replace("NAME", "a/b"))
    with pytest.raises(PluginError, match="lower-case letters, digits and _"):
        Plugins()


async def test_what_a_mount_brings_in_keeps_the_contracts_bounds(world: World) -> None:
    answer = await post(world, "reports", f"{'1' * 600} 路灯不亮", "street")
    assert answer.status_code == 422, answer.text
    assert "length <= 500" in answer.text
    (case, _) = (await post(world, "reports", "1 路灯不亮", "street")).json()
    answer = await post(world, f"{case}/word", "长" * 2_001, "street")
    assert answer.status_code == 422
    assert "at most 2000 characters" in answer.text


@pytest.mark.parametrize(
    "mount",
    [Mount(name="lamps", build=lamps, settings=5), Mount(name="lamps", build=None, settings=LampSettings)],  # type: ignore[arg-type]
)
def test_routes_without_settings_or_a_builder_are_refused_by_name(mount: Mount[Any]) -> None:
    with pytest.raises(PluginError, match="the routes lamps need a class of settings and a function"):
        _check_mount(mount, {})
