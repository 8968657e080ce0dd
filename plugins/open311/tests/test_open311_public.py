"""The Open311 server before judges that are not ours: the specification, and a public client over real HTTP."""

import asyncio
import json
import socket
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import uvicorn
from georeport import GeoReport

from hub.model.case.state import CaseId
from hub.testing.kit import QuietServer, eventually
from plugins.open311.tests.georeport_answers import Definition, Filed, Numbered, Request, Service, deviations, read
from plugins.open311.tests.open311_world import LAMP, category_of, get, post, report, serve, settle
from tests.unit.api_world import World

PLACE = "尧化街道尧佳路7号"


async def test_answers_are_the_specifications(tmp_path: Path) -> None:
    async with serve(tmp_path) as world:
        key = world.secrets["admin"]
        services = read(list[Service], (await get(world, "services.json")).content)
        assert [service.service_code for service in services].count(LAMP) == 1
        asking = 0
        for category in world.district.policy.categories:
            definition = read(Definition, (await get(world, f"services/{category.code}.json")).content)
            assert definition.service_code == category.code
            asking += bool(definition.attributes)
        assert asking == sum(service.metadata for service in services) > 0
        ids = [await report(world, media_url="https://pictures.example.org/1.jpg") for _ in range(3)]
        ids.append(await report(world, service_code=category_of(world, "H")))
        answer = await post(world, {"api_key": key, "service_code": LAMP, "address_string": PLACE})
        (filed,) = read(list[Filed], answer.content)
        assert filed.service_request_id not in (None, *ids)
        await settle(world, ids[0])
        shown = read(list[Request], (await get(world, "requests.json")).content)
        assert {item.status for item in shown} == {"open", "closed"}
        assert {item.media_url for item in shown} == {"https://pictures.example.org/1.jpg", None}
        for id in ids:
            for query in ({}, {"api_key": key}):
                (one,) = read(list[Request], (await get(world, f"requests/{id}.json", **query)).content)
                assert one.service_request_id == id
            assert read(list[Numbered], (await get(world, f"tokens/{id}.json")).content) == [Numbered(id, id)]


@pytest.mark.parametrize(("kind", "wrong"), deviations())
def test_an_answer_that_is_not_the_specifications_is_noticed(kind: Any, wrong: object) -> None:
    with pytest.raises(msgspec.ValidationError):
        read(kind, msgspec.json.encode(wrong))


@asynccontextmanager
async def listening(folder: Path) -> AsyncIterator[tuple[World, str]]:
    """A world served over real HTTP; the endpoint."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    async with serve(folder, jurisdiction_id="qixia.gov.cn") as world:
        config = uvicorn.Config(world.app, lifespan="off", log_config=None, access_log=False, timeout_graceful_shutdown=1)
        server = QuietServer(config)
        serving = asyncio.create_task(server.serve([listener]))
        try:
            await eventually(lambda: server.started)
            yield world, f"http://127.0.0.1:{listener.getsockname()[1]}/open311/v2"
        finally:
            server.should_exit = True
            await serving
            listener.close()


@pytest.mark.parametrize("form", ["json", "xml"])
async def test_georeport_reads_services_and_requests(tmp_path: Path, form: str) -> None:
    async with listening(tmp_path) as (world, endpoint):
        ids = [await report(world), await report(world)]

        def read() -> None:
            client = GeoReport(endpoint, jurisdiction="qixia.gov.cn", output_format=form)
            services = client.get_service_list()
            assert LAMP in {service["service_code"] for service in services}
            assert client.get_service_definition(LAMP)["service_code"] == LAMP
            assert [item["service_request_id"] for item in client.get_service_requests()] == ids[::-1]
            assert client.get_service_requests(status="open", service_code=LAMP)[0]["status"] == "open"
            one = client.get_service_request(ids[0])
            assert one["service_name"] == "路灯故障"
            assert float(one["lat"]) == 32.1

        await asyncio.to_thread(read)


def call(url: str, form: dict[str, str] | None = None) -> tuple[int, Any]:
    """GET, or POST of a form; the status and what the answer says."""
    body = urllib.parse.urlencode(form).encode() if form is not None else None
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, body, timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, json.load(refused)


async def test_a_report_is_found_out_how_to_file_filed_and_followed(tmp_path: Path) -> None:
    """As the specification leads a client: discovery, what the service asks, the form with the key in it, then by its number."""
    async with listening(tmp_path) as (world, endpoint):
        client = GeoReport(endpoint, jurisdiction="qixia.gov.cn")
        asked = {"jurisdiction_id": "qixia.gov.cn", "api_key": world.secrets["admin"], "address_string": PLACE}

        def file() -> str:
            _, found = call(endpoint.replace("/v2", "/discovery.json"))
            assert endpoint in {one["url"] for one in found["endpoints"]}
            assert client.get_service_definition(LAMP)["attributes"]
            status, (refused,) = call(f"{endpoint}/requests.json", asked | {"service_code": "nonsense", "description": "x"})
            assert (status, refused["code"]) == (404, 404)
            status, (filed,) = call(
                f"{endpoint}/requests.json",
                asked
                | {
                    "service_code": LAMP,
                    "first_name": "San",
                    "last_name": "Zhang",
                    "phone": "13800001234",
                    "description": "路灯不亮",
                },
            )
            assert status == 200
            return str(filed["service_request_id"])

        id = await asyncio.to_thread(file)
        contact = await world.vault.open(CaseId(id))
        assert contact is not None
        assert contact.name == "San Zhang"
        await settle(world, id)

        def follow() -> None:
            assert client.get_service_request(id)["status"] == "closed"
            assert [item["service_request_id"] for item in client.get_service_requests(service_code=LAMP)] == [id]
            assert client.get_service_requests(service_code=LAMP, status="open") == []
            assert call(f"{endpoint}/tokens/{id}.json?jurisdiction_id=qixia.gov.cn")[1] == [
                {"service_request_id": id, "token": id}
            ]

        await asyncio.to_thread(follow)
