"""The HTTP interface does what its OpenAPI document says: generated requests to every path over real HTTP, answers checked.

Examples are few and the same in every run; `/changes` never ends and is only checked to be documented (test_api_stream tests it).
"""

import asyncio
import itertools
import re
import tempfile
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import schemathesis
import uvicorn
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.core.parameters import ParameterLocation
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from hub.model.actors import SYSTEM
from hub.model.aggregate import tag_of
from hub.model.case import CASE
from hub.model.case import commands as c
from hub.model.case.state import CaseId, Channel
from hub.model.district.areas import AreaCode
from hub.model.rights import Role
from hub.settings import ApiSettings
from hub.surfaces.api.cases.kind import CASE_KIND
from hub.testing.kit import QuietServer
from tests.unit.api_world import World

KNOWN_CASE = CaseId("320113001001001-01jd8x2m9qk3v5wz")
"""The id the document gives as an example: half of the generated requests are about it."""


class Served:
    """A world served over HTTP from a thread with its own loop."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="served")
        self.url = ""
        self.token = ""
        self.app: FastAPI
        self._server: QuietServer

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(30)

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(30)

    async def _serve(self) -> None:
        async with World.make(self._folder, settings=ApiSettings(rate_per_minute=1_000_000)) as world:
            self.app = world.app
            self.token = world.secrets["admin"]
            at = datetime.now(UTC)
            report = c.Report(
                channel=Channel.PATROL, title="路灯不亮", text="路灯不亮", area=AreaCode(KNOWN_CASE[:15]), reported_at=at
            )
            await world.desk.execute(KNOWN_CASE, report, actor=SYSTEM)
            self._server = QuietServer(
                uvicorn.Config(world.app, port=0, lifespan="off", log_level="critical", access_log=False)
            )
            serving = asyncio.create_task(self._server.serve())
            while not self._server.started:
                await asyncio.sleep(0.01)
            self.url = f"http://127.0.0.1:{self._server.servers[0].sockets[0].getsockname()[1]}"
            self._ready.set()
            await serving


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    found = Served(tmp_path_factory.mktemp("served"))
    found.start()
    yield found
    found.stop()


def operations() -> list[Any]:
    """Every operation of the document, found without a server."""
    with tempfile.TemporaryDirectory() as folder:
        world = World.make(Path(folder))
        found = world.app.openapi()
        world.views.close()
    schema = schemathesis.openapi.from_dict(found)
    schema.config.generation.update(with_security_parameters=False)  # the tests bring their own token
    schema.config.generation.allow_extra_parameters = False
    return [
        pytest.param(operation, id=f"{operation.method.upper()} {operation.path}")
        for result in schema.get_all_operations()
        if (operation := result.ok()).path != "/api/v1/changes"
    ]


@pytest.mark.parametrize("operation", operations())
def test_every_path_behaves_as_documented(operation: Any, served: Served) -> None:
    turn = itertools.count()

    def ask(case: Any) -> None:
        in_path = case.meta.components.get(ParameterLocation.PATH)
        wrong_path = in_path is not None and in_path.mode is GenerationMode.NEGATIVE  # then the path may be all that is wrong
        if "id" in case.path_parameters and "/cases/" in operation.path and not wrong_path and next(turn) % 2:
            case.path_parameters["id"] = KNOWN_CASE
        case.call_and_validate(
            base_url=served.url,
            headers={"Authorization": f"Bearer {served.token}"},
            checks=[
                schemathesis.checks.not_a_server_error,
                status_code_conformance,
                content_type_conformance,
                response_schema_conformance,
                negative_data_rejection,
            ],
            timeout=10,
        )

    for mode in GenerationMode:
        try:
            run = given(case=operation.as_strategy(generation_mode=mode))(ask)
            settings(max_examples=5, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))(
                run
            )()
        except Unsatisfiable:
            assert mode is GenerationMode.NEGATIVE  # nothing about this operation can be wrong


def test_every_command_of_people_is_documented_with_an_example(served: Served) -> None:
    paths = served.app.openapi()["paths"]
    for command in CASE.given:
        body = paths[f"/api/v1/cases/{{id}}/{tag_of(command)}"]["post"]["requestBody"]["content"]["application/json"]
        assert body["example"] is not None
        assert body["schema"]["$ref"] == f"#/components/schemas/{command.__name__}Body"
    given = {tag_of(command) for command in CASE.given}
    assert set(CASE_KIND.forms) == given
    assert all(Role.ADMIN in form.roles for form in CASE_KIND.forms.values())


def test_every_reference_of_the_document_leads_somewhere(served: Served) -> None:
    found = served.app.openapi()
    names = set(re.findall(r"#/components/schemas/(\w+)", str(found)))
    assert names <= set(found["components"]["schemas"])


def test_every_operation_is_summed_up_and_says_what_it_refuses(served: Served) -> None:
    for path, operations in served.app.openapi()["paths"].items():
        for method, operation in operations.items():
            assert operation["summary"], f"{method} {path}"
            assert operation["responses"], f"{method} {path}"
            if path.startswith("/api/v1/"):
                assert {"401", "429"} <= set(operation["responses"]), f"{method} {path}"
                assert operation["security"], f"{method} {path}"
