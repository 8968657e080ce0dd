"""Tokens are those of the bus: made or revoked through one hub, they count in the other at once."""

from __future__ import annotations

import asyncio
from pathlib import Path

from hub.app import Hub
from hub.testing.kit import PATIENCE, eventually
from tests.system.department import report_gas
from tests.system.hubs import api_of, two_hubs

AT_ONCE = 7.0
"""Seconds; well below those that known tokens count without the bus."""


async def made(hub: Hub, name: str) -> tuple[str, str]:
    secret, token = await hub.tokens.issue(name=name, role="viewer", unit=None, area="320113")
    return secret, token.id


async def test_a_token_made_through_one_hub_counts_in_the_other_in_the_next_moment(tmp_path: Path) -> None:
    async with two_hubs(tmp_path) as (a, b):
        for number in range(20):
            secret, id = await made(a, f"screen {number}")
            found = await b.tokens.find(secret)
            assert found is not None
            assert found.id == id


async def test_a_token_revoked_through_one_hub_is_useless_in_the_other_at_once(tmp_path: Path) -> None:
    async with two_hubs(tmp_path) as (a, b):
        secret, id = await made(a, "screen")
        assert await b.tokens.find(secret) is not None
        await a.tokens.revoke(id)
        assert await a.tokens.find(secret) is None
        await eventually(lambda: _gone(b, secret), within=AT_ONCE)
        assert not await b.tokens.holds(id)


async def _gone(hub: Hub, secret: str) -> bool:
    return await hub.tokens.find(secret) is None


async def test_the_streams_of_a_token_revoked_through_another_hub_end_and_the_others_go_on(tmp_path: Path) -> None:
    async with two_hubs(tmp_path) as (a, b), api_of(b) as client:
        secret, id = await made(a, "screen")
        other, _ = await made(a, "other screen")
        async with (
            client.stream("GET", "/changes", headers={"Authorization": f"Bearer {secret}"}, timeout=30) as ending,
            client.stream("GET", "/changes", headers={"Authorization": f"Bearer {other}"}, timeout=30) as going,
        ):
            lines, others = ending.aiter_lines(), going.aiter_lines()
            assert await anext(lines) == await anext(others) == "retry: 1000"
            await a.tokens.revoke(id)
            async with asyncio.timeout(AT_ONCE):
                assert not [line async for line in lines if line.startswith("data:")]
            outcome = await report_gas(a)
            async with asyncio.timeout(PATIENCE):
                while not (line := await anext(others)).startswith("data:"):
                    pass
            assert outcome.state.id in line


async def test_finding_a_known_token_asks_nobody(tmp_path: Path) -> None:
    async with two_hubs(tmp_path) as (a, b):
        secret, _ = await made(a, "screen")
        await eventually(lambda: b.tokens._known)
        await b.tokens.find(secret)  # notes its use, once an hour
        before = b.bus.nc.stats["out_msgs"]
        for _ in range(1000):
            assert await b.tokens.find(secret) is not None
        assert b.bus.nc.stats["out_msgs"] - before < 100  # what the stages say meanwhile
