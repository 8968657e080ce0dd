"""The demo's HTTP client against a real server: keys, patience with a busy hub, problems, the change stream."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from hub.demo.client import HubClient, Problem


class Server:
    """Answers each request with the next prepared answer and remembers what it was asked."""

    def __init__(self, *answers: bytes) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []
        self.url = ""

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            (int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")), 0
        )
        await reader.readexactly(length)
        self.asked.append(head.decode())
        writer.write(self.answers.pop(0))
        await writer.drain()
        writer.close()
        await writer.wait_closed()


def reply(status: str, body: object, *headers: str, media_type: str = "application/json") -> bytes:
    content = body if isinstance(body, str) else json.dumps(body)
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {media_type}", f"Content-Length: {len(content.encode())}", *headers]
    return ("\r\n".join(lines) + "\r\nConnection: close\r\n\r\n" + content).encode()


async def serving(*answers: bytes) -> AsyncIterator[tuple[Server, HubClient]]:
    server = Server(*answers)
    listener = await asyncio.start_server(server.answer, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    client = HubClient(server.url, patience=10)
    async with listener:
        yield server, client
        await client.close()


async def test_a_busy_hub_is_asked_again_under_the_same_key() -> None:
    async for server, client in serving(reply("503 Busy", {}), reply("201 Created", {"id": "X"})):
        assert await client.post("/cases", {"title": "a"}, token="t", key="k1") == {"id": "X"}
        assert [head.lower().count("idempotency-key: k1") for head in server.asked] == [1, 1]
        assert server.asked[0].startswith("POST /api/v1/cases ")


async def test_a_refusal_is_a_problem_with_what_the_hub_said() -> None:
    problem = {"title": "Transition refused", "detail": "settle refused in state closed", "status": 409}
    async for _, client in serving(reply("409 Conflict", problem, media_type="application/problem+json")):
        with pytest.raises(Problem) as caught:
            await client.get("/cases", token="t")
        assert (caught.value.status, caught.value.title) == (409, "Transition refused")
        assert "settle refused" in str(caught.value)


async def test_the_change_stream_goes_on_where_it_broke_off() -> None:
    first = ': hello\n\nid: 7\nevent: change\ndata: {"case": "A"}\n\n'
    second = 'id: 8\ndata: {"case":\ndata: "B"}\n\n'
    stream = "text/event-stream"
    async for server, client in serving(reply("200 OK", first, media_type=stream), reply("200 OK", second, media_type=stream)):
        seen = []
        async for change in client.changes(token="t"):
            seen.append((change.id, change.values["case"]))
            if len(seen) == 2:
                break
        assert seen == [("7", "A"), ("8", "B")]
        assert "last-event-id: 7" in server.asked[1].lower()
