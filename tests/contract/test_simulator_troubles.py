"""Simulators that answer rubbish, by a script or by a fault, and remember what they were asked."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from hub.testing.process import SimulatorProcess
from hub.testing.store import SimulatorStore

SECRET = "lamp-secret"
CASE = "320113001000000-0123456789"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatorProcess]:
    here = {"PYTHONPATH": str(Path(__file__).parent)}
    data = tmp_path_factory.mktemp("lamps")
    with SimulatorProcess("lamps", data, secret=SECRET, options=("--pace", "600"), environment=here) as process:
        yield process


@pytest.fixture
def office(running: SimulatorProcess) -> SimulatorProcess:
    running.clear_faults()
    running.control("DELETE", "/_sim/requests")
    return running


def order(office: SimulatorProcess, number: int, **options: Any) -> httpx.Response:
    return httpx.post(f"{office.url}/orders", json={"key": f"{CASE}.a{number}"}, trust_env=False, **options)


def filed(office: SimulatorProcess, number: int) -> bool:
    return f"{CASE}.a{number}" in {ticket["key"] for ticket in office.tickets()}


def test_script_is_played_one_filing_request_after_the_other(office: SimulatorProcess) -> None:
    office.script("error*2, rate_limit(3s), ok, unavailable")
    assert httpx.get(f"{office.url}/orders", trust_env=False).status_code == 200, "a question uses up no step"
    answers = [order(office, 100 + number) for number in range(6)]
    assert [answer.status_code for answer in answers] == [500, 500, 429, 200, 503, 200]
    assert answers[2].headers["retry-after"] == "3"


def test_script_with_a_mistake_is_refused_and_the_old_one_stays(office: SimulatorProcess) -> None:
    office.script("error")
    answer = httpx.post(f"{office.url}/_sim/script", json={"script": "ok, eror"}, trust_env=False)
    assert answer.status_code == 422
    assert "eror" in answer.json()["reason"]
    assert office.control("GET", "/_sim/script") == {"left": ["error"]}


def test_script_of_a_file_is_played_from_the_start(tmp_path: Path) -> None:
    (tmp_path / "script.txt").write_text("# first two go wrong\nerror, bad_credentials\n", encoding="utf-8")
    here = {"PYTHONPATH": str(Path(__file__).parent)}
    options = ("--pace", "600", "--script", str(tmp_path / "script.txt"))
    with SimulatorProcess("lamps", tmp_path / "data", secret=SECRET, options=options, environment=here) as office:
        assert [order(office, number).status_code for number in range(3)] == [500, 401, 200]


def test_garbage_is_answered_although_the_order_is_filed(office: SimulatorProcess) -> None:
    office.script("garbage")
    answer = order(office, 1)
    assert answer.status_code == 200
    with pytest.raises(ValueError, match=r"."):
        answer.json()
    assert filed(office, 1)


def test_huge_answer_ends_when_nobody_takes_it_any_more(office: SimulatorProcess) -> None:
    office.script("huge(50MB), huge(1MB)")
    with httpx.stream("POST", f"{office.url}/orders", json={"key": f"{CASE}.a2"}, trust_env=False) as answer:
        next(answer.iter_raw(65536))
    assert filed(office, 2)
    whole = order(office, 3)
    assert len(whole.content) >= 1024 * 1024
    sizes = [row["answer"]["size"] for row in office.requests() if row["fault"] == "huge"]
    assert sizes[0] < 50 * 1024 * 1024


def test_hang_answers_late_and_drip_never_ends_in_time(office: SimulatorProcess) -> None:
    office.script("hang(300ms), hang(20s), drip(20s)")
    began = time.monotonic()
    assert order(office, 4).json()["ticket"]
    assert time.monotonic() - began >= 0.3
    with pytest.raises(httpx.ReadTimeout):
        order(office, 5, timeout=0.3)
    with (
        httpx.stream("POST", f"{office.url}/orders", json={"key": f"{CASE}.a6"}, timeout=0.5, trust_env=False) as answer,
        pytest.raises(TimeoutError),
    ):
        _until_timeout(answer, 1.0)
    assert filed(office, 5)
    assert filed(office, 6)


def _until_timeout(answer: httpx.Response, within: float) -> None:
    give_up = time.monotonic() + within
    for _ in answer.iter_raw(1):
        if time.monotonic() > give_up:
            raise TimeoutError


def test_closed_connection_is_reset_after_the_order_is_filed(office: SimulatorProcess) -> None:
    office.script("close")
    with pytest.raises(httpx.ReadError):
        order(office, 7)
    assert filed(office, 7)
    assert order(office, 8).status_code == 200, "the next one is served"


def test_every_request_is_recorded_with_its_answer_and_without_secrets(office: SimulatorProcess) -> None:
    before = office.control("GET", "/_sim/requests")["last"]
    headers = {"authorization": "Bearer abc", "x-note": f"mine is {SECRET}"}
    order(office, 9, headers=headers)
    office.script("error")
    order(office, 10)
    first, second = office.requests(before)
    assert (first["method"], first["path"], first["text"]) == ("POST", "/orders", f'{{"key":"{CASE}.a9"}}')
    assert first["headers"]["authorization"] == "***"
    assert first["headers"]["x-note"] == "mine is ***"
    assert first["answer"]["status"] == 200
    assert first["fault"] is None
    assert (second["fault"], second["answer"]["status"]) == ("error", 500)
    assert office.requests(second["number"]) == []


async def test_requests_at_once_are_recorded_each_with_its_own_answer(office: SimulatorProcess) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        await asyncio.gather(
            *(client.post(f"{office.url}/orders", json={"key": f"{CASE}.a{number}"}) for number in range(200, 220))
        )
    rows = office.requests()
    tickets = {ticket["key"]: ticket["ticket"] for ticket in office.tickets()}
    assert len(rows) == 20
    for row in rows:
        key = row["text"].removeprefix('{"key":"').removesuffix('"}')
        assert tickets[key] in row["answer"]["text"]


async def test_attached_files_survive_and_are_listed_with_their_checksum(tmp_path: Path) -> None:
    store = SimulatorStore(tmp_path)
    kept = store.add_file("T1", name="a.txt", media_type="text/plain", content="完".encode())
    assert store.add_file("T1", name="a.txt", media_type="text/plain", content="完".encode()) == kept
    await store.durable()
    store.close()
    again = SimulatorStore(tmp_path)
    assert again.files() == [kept]
    assert again.file(kept.id) == kept
    assert again.file("no") is None
    again.close()
