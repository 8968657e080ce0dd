"""`hub delivery` and `hub key` against the API itself, served over HTTP in this process."""

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn
from typer.testing import CliRunner, Result

from hub.surfaces.cli import app
from hub.testing.kit import QuietServer
from tests.unit.api_world import World
from tests.unit.test_api_deliveries import idempotent, sent
from tests.unit.test_api_operations import dead_case


class Hub:
    """A world over HTTP, with a delivered and a dead delivery of the police."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self.url = self.delivered = self.dead = ""
        self.secrets: dict[str, str] = {}
        self._server: QuietServer

    def __enter__(self) -> "Hub":
        self._thread.start()
        assert self._ready.wait(30)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(20)

    async def _serve(self) -> None:
        async with World.make(self._folder) as world:
            idempotent(world, capable=True)
            self.dead, self.delivered = await dead_case(world), await sent(world)
            self.secrets = world.secrets
            listener = socket.create_server(("127.0.0.1", 0))
            self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            self._server = QuietServer(uvicorn.Config(world.app, lifespan="off", log_level="warning", access_log=False))
            serving = asyncio.create_task(self._server.serve([listener]))
            while not self._server.started:
                await asyncio.sleep(0.01)
            self._ready.set()
            await serving
            listener.close()

    def run(self, *words: str, who: str = "police") -> Result:
        return CliRunner(env={"COLUMNS": "220", "TERM": "dumb"}).invoke(
            app, [*words, "--url", self.url, "--token", self.secrets[who]]
        )

    def json(self, *words: str, who: str = "police") -> dict[str, object]:
        result = self.run(*words, "--json", who=who)
        assert result.exit_code == 0, result.output
        found: dict[str, object] = json.loads(result.stdout)
        return found


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    with Hub(tmp_path_factory.mktemp("hub")) as served:
        yield served


def test_deliveries_are_listed_with_state_outcome_and_number(hub: Hub) -> None:
    shown = hub.run("delivery", "list", "--state", "delivered").stdout
    for word in (hub.delivered, "公安", "已送达", "JQ00000007"):
        assert word in shown
    assert hub.json("delivery", "list", "--q", "没有这个词") == {"items": []}
    assert hub.json("delivery", "list", "--since", "2200-01-01T00:00")["items"] == []


def test_every_kind_of_filter_goes_from_the_command_line_to_the_views(hub: Hub) -> None:
    def keys(*words: str) -> list[str]:
        return [row["key"] for row in hub.json("delivery", "list", *words)["items"]]  # type: ignore[attr-defined]

    assert keys("--state", "dead", "--state", "delivered") == keys()
    assert keys("--not-stopped", "--until", "2200-01-01T00:00", "--limit", "7") == [hub.delivered]
    assert keys("--key", hub.dead) == [hub.dead]
    assert "Invalid value" in hub.run("delivery", "list", "--state", "lost").output
    for flag, found in (("--dead", True), ("--not-dead", False)):
        cases = hub.json("case", "list", flag, "--open", who="admin")["items"]
        assert (hub.dead.partition(".")[0] in [row["id"] for row in cases]) is found  # type: ignore[attr-defined]
    assert "pattern" in hub.run("case", "list", "--area", "32").stderr


def test_delivery_is_shown_with_every_attempt(hub: Hub) -> None:
    shown = hub.run("delivery", "show", hub.delivered).stdout
    for word in ("投递记录", "503", "unavailable", "138****1234", "失败", "已送达"):
        assert word in shown
    dead = hub.run("delivery", "show", hub.dead).stdout
    for word in ("dispatch.police", "503, call 138****1234"):
        assert word in dead
    assert len(hub.json("delivery", "show", hub.delivered)["attempts"]) == 2  # type: ignore[arg-type]


def test_what_stopped_is_listed_and_can_be_given_up(hub: Hub) -> None:
    shown = hub.run("delivery", "list", "--stopped").stdout
    assert hub.dead in shown
    assert hub.delivered not in shown
    refused = hub.run("delivery", "drop", hub.dead, "--reason", "电话转办", "--yes")
    assert "403" in refused.stderr, "giving up is the operators'"
    refused = hub.run("delivery", "drop", hub.delivered, "--reason", "电话转办", "--yes", who="admin")
    assert "only a dead, refused or uncertain delivery" in refused.stderr


def test_delivery_is_sent_again_or_it_says_why_not(hub: Hub) -> None:
    refused = hub.run("delivery", "resend", hub.delivered, "--reason", "没收到", "--yes")
    assert refused.exit_code == 1
    assert "has it as JQ00000007" in refused.stderr
    assert hub.run("delivery", "resend", hub.dead, "--reason", "已恢复").exit_code == 1, "asks first"
    assert "将重新投递" in hub.run("delivery", "resend", hub.dead, "--reason", "已恢复", "--yes").stdout
    again = hub.json("delivery", "resend", hub.delivered, "--reason", "库已重建", "--again", "--yes")
    assert again["events"] == ["delivery.resent"]


def test_key_is_issued_listed_and_revoked(hub: Hub) -> None:
    words = ("key", "issue", "--name", "大屏", "--scope", "cases:read", "--expires", "2199-01-01T08:00")
    key = hub.json(*words)
    assert key["scopes"] == ["cases:read"]
    assert str(key["expires_at"]).startswith("2199-01-01T00:00:00")
    hub.secrets["screen"] = str(key["token"])
    assert hub.run("delivery", "list", who="screen").exit_code == 1
    shown = hub.run("key", "list").stdout
    assert "大屏" in shown
    assert str(key["token"]) not in shown
    assert "已吊销" in hub.run("key", "revoke", str(key["id"]), "--issued", "--yes").stdout
    assert hub.run("case", "list", who="screen").exit_code == 1


def test_token_is_issued_with_scopes_and_an_end(hub: Hub) -> None:
    words = ("token", "issue", "--name", "x", "--role", "viewer", "--scope", "cases:read", "--expires", "2199-01-01T08:00")
    token = hub.json(*words, who="admin")
    assert (token["scopes"], token["role"]) == (["cases:read"], "viewer")
