"""The `hub` command against a small real HTTP server that answers in the API's shapes."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from typer.testing import CliRunner, Result

from hub.model.aggregate import tag_of
from hub.model.case import CASE as CASES
from hub.observing.case_trace import assemble
from hub.observing.store import SpanRecord
from hub.surfaces.api.bodies import body_of, decode
from hub.surfaces.api.cases.kind import CASE_KIND
from hub.surfaces.cli import whole
from hub.surfaces.cli.client import find_token
from hub.surfaces.cli.generated import target

CASE = "320113001001001-0f3k9m2p7q"
TOKEN = "hub_test-token-0123456789"
ROW = {
    "id": CASE,
    "stage": "dispatched",
    "severity": "urgent",
    "title": "夜间扰民",
    "level": "street",
    "holder": "320113001",
    "channel": "hotline",
    "reported_at": "2026-03-02T15:40:00Z",
    "due_at": "2026-03-02T17:40:00Z",
}


@dataclass
class Asked:
    """One request as it arrived."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Hub:
    """The stand-in: remembers requests, answers from `answers` (by `METHOD path`), else with what the API gives."""

    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    answers: dict[str, list[tuple[int, Any]]] = field(default_factory=dict)

    def last(self) -> Asked:
        return self.asked[-1]

    def answer(self, request: Asked) -> tuple[int, Any]:
        queued = self.answers.get(f"{request.method} {request.path}")
        if queued:
            return queued.pop(0) if len(queued) > 1 else queued[0]
        return 200, STANDARD.get(
            f"{request.method} {request.path}", {"case": {"id": CASE, "stage": "held"}, "events": [], "repeated": False}
        )


STANDARD: dict[str, Any] = {
    "GET /me": {"name": "admin", "role": "admin", "zone": "Asia/Shanghai"},
    "GET /summary": {
        "cases": 3,
        "open": 2,
        "late": 1,
        "stages": {"held": 2, "closed": 1},
        "dispatch_ms": {"p50": 12.4, "p99": 80.2},
        "units": [{"unit": "police", "unit_name": "区公安分局", "assignments": 2, "dispatch_ms": {"p50": None, "p99": None}}],
    },
    "GET /cases": {"items": [ROW], "cursor": None},
    f"GET /cases/{CASE}": {
        **ROW,
        "text": "楼下烧烤店",
        "assignments": [
            {
                "id": "a1",
                "unit": "police",
                "role": "lead",
                "state": "dead",
                "ticket": "JW-1",
                "attempts": [{"number": 1, "error": "unavailable"}],
            }
        ],
        "deadlines": [{"kind": "finish", "owner": "police", "assignment": "a1", "due_at": "2026-03-02T17:40:00Z"}],
    },
    f"GET /cases/{CASE}/timeline": {
        "items": [
            {
                "at": "2026-03-02T15:40:00Z",
                "event": "case.held",
                "actor": {"name": "hub", "kind": "system"},
                "body": {"level": 3, "reason": "跨社区"},
            }
        ]
    },
    f"GET /cases/{CASE}/contact": {"name": "张三", "phone": "13812341234"},
    "GET /areas": {
        "items": [
            {"code": "320113", "name": "栖霞区", "level": "district"},
            {"code": "320113001", "name": "尧化街道", "level": "street", "parent": "320113"},
        ],
    },
    "GET /units": {
        "items": [{"code": "police", "name": "区公安分局", "kind": "department", "areas": ["320113"], "adapter": "police"}]
    },
    "GET /adapters/police": {
        "name": "police",
        "plugin": "police",
        "state": "running",
        "stable": {"settings": {"secret": "***"}},
    },
    "GET /adapters": {
        "items": [{"name": "police", "department": "公安", "state": "paused", "breaker": "closed", "detail": "证书过期"}]
    },
    "GET /deliveries": {
        "items": [
            {
                "key": f"{CASE}.a1",
                "title": "夜间扰民",
                "unit": "police",
                "unit_name": "区公安分局",
                "adapter": "police",
                "state": "dead",
                "tried_at": "2026-03-02T16:00:00Z",
                "attempts": [{"number": 8, "outcome": "failed", "error": "unavailable", "reason": "503"}],
                "letter": {"error": "unavailable", "reason": "503"},
            }
        ]
    },
    f"GET /deliveries/{CASE}.a1": {"key": f"{CASE}.a1", "letter": {"attempts": 8, "error": "unavailable"}},
    "POST /tokens": {"id": "t1", "token": "hub_new-token"},
    "GET /tokens": {
        "items": [
            {
                "id": "t1",
                "name": "张班长",
                "role": "grid_worker",
                "unit": "320113001001001",
                "issued_at": "2026-03-02T15:40:00Z",
            }
        ]
    },
}


@pytest.fixture(scope="module")
def server() -> Iterator[Hub]:
    hub = Hub()
    api = FastAPI(openapi_url=None)

    @api.api_route("/api/v1/{path:path}", methods=["GET", "POST", "DELETE"])
    async def door(request: Request, path: str) -> Response:
        asked = Asked(request.method, f"/{path}", dict(request.query_params), dict(request.headers), await request.body())
        hub.asked.append(asked)
        status, body = hub.answer(asked)
        if status == 204:
            return Response(status_code=204)
        media = "application/json" if status < 400 else "application/problem+json"
        headers = {"Retry-After": "0"} if status == 503 else {}
        return JSONResponse(body, status_code=status, media_type=media, headers=headers)

    running = uvicorn.Server(uvicorn.Config(api, host="127.0.0.1", port=0, log_config=None, ws="none", lifespan="off"))
    ready = threading.Event()

    class Announcing(uvicorn.Server):
        async def startup(self, sockets: list[Any] | None = None) -> None:
            await super().startup(sockets)
            hub.url = f"http://127.0.0.1:{self.servers[0].sockets[0].getsockname()[1]}"
            ready.set()

    running = Announcing(running.config)
    thread = threading.Thread(target=running.run, daemon=True)
    thread.start()
    assert ready.wait(10)
    yield hub
    running.should_exit = True
    thread.join(10)


@pytest.fixture
def hub(server: Hub, monkeypatch: pytest.MonkeyPatch) -> Hub:
    server.asked.clear()
    server.answers.clear()
    for name in ("HUB_DATA", "HUB_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HUB_URL", server.url)
    monkeypatch.setenv("HUB_TOKEN", TOKEN)
    return server


def run(*arguments: str, input: str | None = None) -> Result:
    return CliRunner(env={"COLUMNS": "220", "TERM": "dumb"}).invoke(whole(), list(arguments), input=input)


def done(*arguments: str) -> str:
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_list_shows_chinese_words_and_the_districts_time(hub: Hub) -> None:
    out = done(
        "case", "list", "--stage", "held", "--area", "320113001", "--q", "下水道", "--late", "--since", "2026-03-01T00:00"
    )
    for words in ("编号", "标题", CASE, "已派单", "紧急", "街道", "12345热线", "2026-03-02 23:40:00"):
        assert words in out, words
    asked = next(request for request in hub.asked if request.path == "/cases")
    assert asked.query == {
        "limit": "50",
        "stage": "held",
        "area": "320113001",
        "q": "下水道",
        "late": "true",
        "since": "2026-03-01T00:00:00+08:00",
    }
    assert asked.headers["authorization"] == f"Bearer {TOKEN}"


def test_a_long_list_is_fetched_page_by_page_up_to_the_limit(hub: Hub) -> None:
    hub.answers["GET /cases"] = [(200, {"items": [ROW] * 200, "cursor": "c1"}), (200, {"items": [ROW] * 200, "cursor": "c2"})]
    assert len(json.loads(done("case", "list", "--limit", "250", "--json"))["items"]) == 250
    assert [request.query.get("cursor") for request in hub.asked] == [None, "c1"]
    assert [request.query["limit"] for request in hub.asked] == ["200", "50"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("case", "list"),
        ("case", "show", CASE),
        ("case", "timeline", CASE),
        ("case", "contact", CASE, "--purpose", "回访"),
        ("case", "escalate", CASE, "--reason", "跨社区"),
        ("area", "list"),
        ("area", "show", "320113"),
        ("unit", "list"),
        ("adapter", "list"),
        ("adapter", "show", "police"),
        ("adapter", "pause", "police", "--reason", "升级"),
        ("adapter", "resume", "police"),
        ("delivery", "list", "--stopped"),
        ("delivery", "show", f"{CASE}.a1"),
        ("delivery", "resend", f"{CASE}.a1", "--reason", "已恢复", "--yes"),
        ("delivery", "drop", f"{CASE}.a1", "--reason", "电话转办", "--yes"),
        ("token", "list"),
        ("token", "issue", "--name", "张班长", "--role", "grid_worker"),
        ("token", "revoke", "t1", "--yes"),
        ("status",),
    ],
)
def test_with_json_stdout_is_one_json_value_and_nothing_else(hub: Hub, arguments: tuple[str, ...]) -> None:
    json.loads(done(*arguments, "--json"))
    assert done(*arguments).strip()


def test_what_somebody_reported_does_not_steer_the_terminal(hub: Hub) -> None:
    hub.answers["GET /cases"] = [
        (200, {"items": [{**ROW, "title": "a\x1b]0;b\x07\x1b[31m\u202ec [/] [bold]"}], "cursor": None})
    ]
    out = done("case", "list")
    assert "\x1b" not in out
    assert "\u202e" not in out
    assert "c [/] [bold]" in out


def test_an_empty_list_says_so(hub: Hub) -> None:
    hub.answers["GET /cases"] = [(200, {"items": [], "cursor": None})]
    assert "没有" in done("case", "list")
    assert json.loads(done("case", "list", "--json")) == {"items": []}


def test_a_time_no_zone_can_show_stays_as_it_is(hub: Hub) -> None:
    hub.answers["GET /cases"] = [(200, {"items": [{**ROW, "due_at": "9999-12-31T23:59:59Z"}], "cursor": None})]
    assert "9999-12-31T23:59:59Z" in done("case", "list")


def test_a_token_found_here_does_not_go_to_a_hub_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "admin.token").write_text(TOKEN)
    assert find_token(None, None, "https://hub.example.org") is None
    assert find_token(None, None, "http://127.0.0.1:8600") == TOKEN
    assert find_token(None, tmp_path / "data", "https://hub.example.org") == TOKEN


def test_a_case_is_shown_with_its_assignments_and_limits(hub: Hub) -> None:
    out = done("case", "show", CASE)
    for words in ("夜间扰民", "楼下烧烤店", "主办", "死信", "JW-1", "unavailable", "办理时限", "2026-03-03 01:40:00"):
        assert words in out, words


def test_the_timeline_names_event_actor_and_fields(hub: Hub) -> None:
    out = done("case", "timeline", CASE)
    for words in ("2026-03-02 23:40:00", "case.held", "level=街道", "reason=跨社区", "hub"):
        assert words in out, words


def test_a_report_sends_the_contact_apart_and_one_key(hub: Hub) -> None:
    hub.answers["POST /cases"] = [(201, {"case": {"id": CASE, "stage": "held"}, "events": [], "repeated": False})]
    out = done(
        "case", "report", "--title", "路灯不亮", "--text", "三天不亮", "--area", "320113001001001",
        "--name", "张三", "--phone", "13812341234", "--reported-at", "2026-03-02T23:40", "--key", "k1",
    )  # fmt: skip
    assert CASE in out
    assert "受理中" in out
    request = next(request for request in hub.asked if request.method == "POST")
    assert request.headers["idempotency-key"] == "k1"
    assert request.json() == {
        "channel": "hotline",
        "title": "路灯不亮",
        "text": "三天不亮",
        "reported_at": "2026-03-02T23:40:00+08:00",
        "area": "320113001001001",
        "contact": {"name": "张三", "phone": "13812341234"},
    }


def as_options(example: dict[str, Any]) -> list[str]:
    options: list[str] = []
    for name, value in example.items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            options.append(f"--{flag}" if value else f"--not-{flag}")
        elif isinstance(value, list):
            for one in value:
                text = f"{one['unit']}:{one.get('role', 'lead')}:{'required' if one.get('required', True) else 'optional'}"
                options += ["--to", text + (f"={one['task']}" if "task" in one else "")]
        else:
            options += [f"--{flag}", str(value)]
    return options


@pytest.mark.parametrize("command", CASES.given, ids=tag_of)
def test_every_command_sends_a_body_the_api_takes(hub: Hub, command: Any) -> None:
    tag = tag_of(command)
    done("case", tag.replace("_", "-"), CASE, *as_options(CASE_KIND.forms[tag].example))
    request = hub.last() if hub.last().method == "POST" else next(r for r in hub.asked if r.method == "POST")
    assert request.path == f"/cases/{CASE}/{tag}"
    assert request.headers["idempotency-key"]
    body = body_of(command)
    assert decode(request.body, body) == decode(json.dumps(CASE_KIND.forms[tag].example).encode(), body)


def test_a_file_is_uploaded_with_its_media_type(hub: Hub, tmp_path: Path) -> None:
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(b"\xff\xd8 photo")
    done("case", "attach", CASE, str(photo), "--note", "现场")
    request = hub.last()
    assert request.path == f"/cases/{CASE}/attachments"
    assert request.headers["content-type"].startswith("multipart/form-data")
    assert b"image/jpeg" in request.body
    assert b"\xff\xd8 photo" in request.body
    assert "现场".encode() in request.body


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("police", {"unit": "police", "role": "lead", "required": True}),
        ("gas:support", {"unit": "gas", "role": "support", "required": True}),
        ("gas:support:optional=关阀", {"unit": "gas", "role": "support", "required": False, "task": "关阀"}),
    ],
)
def test_targets_are_read(text: str, expected: dict[str, object]) -> None:
    assert target(text) == expected


@pytest.mark.parametrize("text", ["", ":lead", "gas:boss", "gas:lead:perhaps", "gas:lead:required:more"])
def test_a_target_that_cannot_be_read_is_wrong_usage(hub: Hub, text: str) -> None:
    assert run("case", "dispatch", CASE, "--to", text).exit_code == 2
    assert hub.asked == []


def test_a_refusal_is_one_line_on_stderr_that_names_the_fields(hub: Hub) -> None:
    hub.answers[f"POST /cases/{CASE}/escalate"] = [
        (
            422,
            {
                "type": "urn:hub:problem:invalid_input",
                "title": "The request can't be taken",
                "status": 422,
                "detail": "reason is empty",
                "errors": [{"field": "reason", "message": "must not be blank"}],
                "trace_id": "abc123",
            },
        )
    ]
    result = run("case", "escalate", CASE, "--reason", " ", "--json")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.strip() == (
        "hub: 422 The request can't be taken: reason is empty [reason: must not be blank] (trace abc123)"
    )


def test_a_busy_hub_is_asked_again_under_the_same_key(hub: Hub) -> None:
    hub.answers[f"POST /cases/{CASE}/claim"] = [(503, {"title": "The hub can't take this now"}), (200, {"id": CASE})]
    done("case", "claim", CASE)
    keys = [request.headers["idempotency-key"] for request in hub.asked]
    assert len(keys) == 2
    assert len(set(keys)) == 1


def test_deliveries_are_not_dropped_without_a_yes(hub: Hub) -> None:
    result = run("delivery", "drop", f"{CASE}.a1", "--reason", "x")
    assert result.exit_code == 1
    assert "--yes" in result.stderr
    assert hub.asked == []


def test_the_deliveries_and_adapters_that_need_a_person_are_listed(hub: Hub) -> None:
    out = done("delivery", "list", "--stopped")
    assert hub.asked[-2].query["stopped"] == "true"
    for words in (f"{CASE}.a1", "unavailable", "2026-03-03 00:00:00"):
        assert words in out, words
    status = done("status")
    for words in ("证书过期", "受理中", "区公安分局", "12 / 80 ms"):
        assert words in status, words


def test_the_trace_is_drawn_as_a_tree_and_given_as_json(hub: Hub) -> None:
    record = SpanRecord(
        trace="a" * 32, span="1" * 16, parent=None, name="receive hotline", kind="consumer", started=1772466000_000000000,
        ended=1772466000_500000000, matter=CASE, links=(), error="unavailable", attributes={"hub.attempt": 2}, service="hub",
    )  # fmt: skip
    tree = assemble(CASE, [], [record]).to_json()
    hub.answers[f"GET /cases/{CASE}/trace"] = [(200, tree)]
    out = done("trace", CASE, "--width", "160")
    for words in ("receive hotline", "✗ unavailable", "第2次", "500.0 ms"):
        assert words in out, words
    assert json.loads(done("trace", CASE, "--json")) == tree


def test_hub_and_token_are_found_in_the_data_directory(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HUB_URL")
    monkeypatch.delenv("HUB_TOKEN")
    (tmp_path / "runtime.json").write_text(json.dumps({"api": hub.url, "nats": "", "pid": 1}))
    (tmp_path / "admin.token").write_text("hub_from-file\n")
    done("unit", "list", "--data", str(tmp_path))
    assert hub.last().headers["authorization"] == "Bearer hub_from-file"
    monkeypatch.chdir(tmp_path.parent)
    tmp_path.rename(tmp_path.parent / "demo-data")
    hub.asked.clear()
    done("unit", "list")
    assert hub.asked


def test_without_a_hub_the_error_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HUB_URL", "HUB_TOKEN", "HUB_DATA"):
        monkeypatch.delenv(name, raising=False)
    nobody = run("status", "--data", str(tmp_path))
    assert nobody.exit_code == 1
    assert "hub up" in nobody.stderr
    gone = run("status", "--url", "http://127.0.0.1:9")
    assert gone.exit_code == 1
    assert "no hub answers at http://127.0.0.1:9" in gone.stderr
    wrong = run("status", "--url", "ftp://x")
    assert wrong.exit_code == 1


def test_the_token_never_shows_in_an_error(hub: Hub) -> None:
    hub.answers["GET /units"] = [(401, {"title": "A valid token is needed", "status": 401})]
    result = run("unit", "list")
    assert result.exit_code == 1
    assert TOKEN not in result.output


@pytest.mark.parametrize(
    "arguments",
    [
        ("case", "escalate", CASE),
        ("case", "nonsense"),
        ("case", "list", "--stage", "nonsense"),
        ("case", "list", "--since", "yesterday"),
        ("up", "--exit"),
        ("up", "--limit", "5"),
        ("demo", "--replay", "no-such-file.csv"),
        ("bench", "--cases", "0"),
        ("up", "--port", "99999"),
    ],
)
def test_wrong_usage_ends_with_two(hub: Hub, arguments: tuple[str, ...]) -> None:
    assert run(*arguments).exit_code == 2
