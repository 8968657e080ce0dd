"""All hubs of a bus seal adapters' secrets with one key; one with another key does not start, and is told what to do."""

from __future__ import annotations

import asyncio
import base64
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from hub.app import Hub
from hub.bus import Bucket, Bus
from hub.bus.streams import LEDGER, worked
from hub.errors import ConfigError
from hub.platform.instances.registration import Patch
from hub.spine.effects.linkage import DURABLE
from hub.testing.kit import eventually
from tests.system.hubs import OneBus, one_bus
from tests.system.test_registration import BY, SECRET, DeskAdapter

OTHER = base64.b64encode(b"another key, of another bus.....").decode()


async def starts(bus: OneBus, name: str, **changes: Any) -> Hub:
    async with bus.hub(name, stages=False, **changes) as hub:
        return hub


async def test_a_secret_that_was_sealed_through_one_hub_is_opened_by_another(tmp_path: Path) -> None:
    async with one_bus(tmp_path, extra=[DeskAdapter]) as bus, bus.hub("a") as a, bus.hub("b") as b:
        await a.registration.add("gasworks", "desk", Patch(settings={"url": "a", "secret": SECRET}), BY)
        await eventually(lambda: b.adapters.serves("gasworks"))
        (desk,) = b.adapters.versions_here("gasworks")
        assert desk._plugin.settings.secret == SecretStr(SECRET)  # type: ignore[attr-defined]


async def test_a_hub_with_another_key_does_not_start(tmp_path: Path) -> None:
    async with one_bus(tmp_path) as bus:
        await starts(bus, "a")
        with pytest.raises(ConfigError, match="the same HUB_SECRETS_KEY") as refusal:
            await starts(bus, "b", secrets_key=OTHER)
        assert refusal.value.key == "secrets_key"
        assert OTHER not in refusal.value.message
        await starts(bus, "b")


async def test_a_second_hub_without_a_key_is_told_where_to_take_it_from_and_makes_none(tmp_path: Path) -> None:
    async with one_bus(tmp_path) as bus:
        await starts(bus, "a", secrets_key=None)
        with pytest.raises(ConfigError, match=r"set HUB_SECRETS_KEY to the key of the bus's other hubs \(`secrets.key` in"):
            await starts(bus, "b", secrets_key=None)
        assert not (tmp_path / "b" / "secrets.key").exists()
        await starts(bus, "b", secrets_key=(tmp_path / "a" / "secrets.key").read_text())
        await starts(bus, "a", secrets_key=None)


@pytest.mark.parametrize("key", ["not base64!", base64.b64encode(b"short").decode()])
async def test_a_key_that_is_none_is_refused_by_name(tmp_path: Path, key: str) -> None:
    async with one_bus(tmp_path) as bus:
        with pytest.raises(ConfigError, match="HUB_SECRETS_KEY is not"):
            await starts(bus, "a", secrets_key=key)


async def test_when_the_key_is_lost_the_secrets_are_forgotten_and_hubs_start_with_another(tmp_path: Path) -> None:
    async with one_bus(tmp_path, extra=[DeskAdapter]) as bus:
        async with bus.hub("a") as a:
            await a.registration.add("gasworks", "desk", Patch(settings={"url": "a", "secret": SECRET}), BY)
            said = await hub_command(bus, "b", "secrets", "forget", "--yes", succeeds=False, HUB_SECRETS_KEY=OTHER)
            assert "another hub serves on this bus" in said
        with pytest.raises(ConfigError, match="hub secrets forget"):
            await starts(bus, "a", secrets_key=OTHER)
        connection = await Bus.connect(bus.server.url)

        async def nobody_serves() -> bool:
            return not await worked(connection, LEDGER, DURABLE)

        await eventually(nobody_serves)
        await hub_command(bus, "a", "secrets", "forget", "--yes", HUB_SECRETS_KEY=OTHER)
        assert await (await Bucket.open(connection, "SECRETS")).entries() == {}
        await connection.close()
        async with bus.hub("a", secrets_key=OTHER) as a:
            status = await a.statuses.of("gasworks")
            assert (status.state, status.detail) == ("failed", "gasworks: a secret is gone: set it again")
            await a.registration.change("gasworks", Patch(settings={"secret": "new"}), BY)
            assert a.adapters.serves("gasworks")
        with pytest.raises(ConfigError, match="another key"):
            await starts(bus, "b")


async def hub_command(bus: OneBus, name: str, *words: str, succeeds: bool = True, **environ: str) -> str:
    """A command of `hub`, as the operator of the hub `name` gives it, and what it prints."""
    own = {"HUB_DATA": str(bus.directory / name), "HUB_CONFIG": str(bus.config), "HUB_NATS__URL": bus.server.url}
    program = Path(sys.executable).with_name("hub")
    child = await asyncio.create_subprocess_exec(
        program, *words, env={**os.environ, **own, **environ}, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said = (await asyncio.wait_for(child.communicate(), timeout=60))[0].decode()
    assert (child.returncode == 0) is succeeds, said
    return said
