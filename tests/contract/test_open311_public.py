"""The Open311 server before judges that are not ours: the public JSON schemas, and two public clients over real HTTP."""

import asyncio
import itertools
import json
import socket
import sys
import types
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import uvicorn
from georeport import GeoReport

from hub.model.actors import SYSTEM
from hub.model.case.commands import Settle
from hub.model.case.state import CaseId
from hub.testing.kit import QuietServer, eventually
from tests.unit.api_world import World
from tests.unit.open311_world import LAMP, category_of, get, post, report, serve

HERE = Path(__file__).parent / "open311"
PLACE = "尧化街道尧佳路7号"


def validator(name: str) -> Any:
    """The public schema of a list of `name`; null allowed where a field is not required, as request.json has it."""
    definitions = json.loads((HERE / "georeport-v2.json").read_text())
    for definition in definitions.values():
        for field, schema in definition["properties"].items():
            if field not in definition.get("required", ()) and schema["type"] != "array":
                definition["properties"][field] = {"anyOf": [schema, {"type": "null"}]}
    schema = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "definitions": definitions,
        "type": "array",
        "items": {"$ref": f"#/definitions/{name}"},
    }
    return jsonschema_rs.validator_for(schema, validate_formats=True)


async def test_answers_fit_the_public_schemas(tmp_path: Path) -> None:
    async with serve(tmp_path) as world:
        key = world.secrets["admin"]
        validator("Service").validate((await get(world, "services.json")).json())
        for category in world.district.policy.categories:
            validator("ServiceDefinition").validate([(await get(world, f"services/{category.code}.json")).json()])
        ids = [await report(world, media_url="https://pictures.example.org/1.jpg") for _ in range(3)]
        ids.append(await report(world, service_code=category_of(world, "H")))
        answer = await post(world, {"api_key": key, "service_code": LAMP, "address_string": PLACE})
        validator("RequestResponse").validate(answer.json())
        await world.desk.execute(CaseId(ids[0]), Settle(note="灯泡已更换"), actor=SYSTEM)
        await world.views.wait_for(len(world.ledger.stored), 5)
        shown = (await get(world, "requests.json")).json()
        assert {item["status"] for item in shown} == {"open", "closed"}
        validator("Request").validate(shown)
        for id in ids:
            validator("Request").validate((await get(world, f"requests/{id}.json")).json())
            validator("Request").validate((await get(world, f"requests/{id}.json", api_key=key)).json())
            validator("TokenResponse").validate((await get(world, f"tokens/{id}.json")).json())


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
            await eventually(lambda: server.started, within=10)
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
            assert float(one["lat"]) == 32.103

        await asyncio.to_thread(read)


@pytest.fixture
def three(monkeypatch: pytest.MonkeyPatch) -> Any:
    """three 0.8.0 as published, with what Python 2 had: `itertools.ifilter`, simplejson, and relaxml (for XML, unused here)."""
    relaxml = types.ModuleType("relaxml")
    vars(relaxml)["xml"] = None
    monkeypatch.setitem(sys.modules, "relaxml", relaxml)
    monkeypatch.setitem(sys.modules, "simplejson", json)
    monkeypatch.setattr(itertools, "ifilter", filter, raising=False)
    module = types.ModuleType("three_core")
    source = (HERE / "three-0.8.0.core.py.txt").read_text()
    exec(compile(source, "three/core.py", "exec"), vars(module))
    return module


async def test_three_reports_and_follows(tmp_path: Path, three: Any) -> None:
    async with listening(tmp_path) as (world, endpoint):

        def use(id: str | None) -> str:
            client = three.Three(endpoint, jurisdiction="qixia.gov.cn", api_key=world.secrets["admin"])
            try:
                found = client.discovery(endpoint.replace("/v2", "/discovery.json"))
                assert endpoint in found.decode()
                assert client.services(LAMP)["attributes"]
                if id is None:
                    (filed,) = client.post(LAMP, address=PLACE, name="San Zhang", phone="13800001234", description="路灯不亮")
                    return str(filed["service_request_id"])
                (one,) = client.request(id)
                assert one["status"] == "closed"
                assert [item["service_request_id"] for item in client.requests(LAMP, count=10)] == [id]
                assert client.token(id) == [{"service_request_id": id, "token": id}]
                (refused,) = client.post("nonsense", address=PLACE, description="x")
                assert refused["code"] == 404
                return id
            finally:
                client.session.close()

        id = await asyncio.to_thread(use, None)
        contact = await world.vault.open(CaseId(id))
        assert contact is not None
        assert contact.name == "San Zhang"
        await world.desk.execute(CaseId(id), Settle(note="灯泡已更换"), actor=SYSTEM)
        await world.views.wait_for(len(world.ledger.stored), 5)
        assert await asyncio.to_thread(use, id) == id
