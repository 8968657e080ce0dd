"""What every store of files has to do: in memory, and on a real nats-server."""

from __future__ import annotations

import asyncio
import hashlib
import os

import pytest
import pytest_asyncio

from hub.bus import Bus, Objects
from hub.bus.streams import FILES
from hub.errors import InvalidInput

pytestmark = pytest.mark.asyncio(loop_scope="module")
fixture = pytest_asyncio.fixture


@fixture(loop_scope="module")
async def objects(bus: Bus) -> Objects:
    return Objects(bus)


class TestObjects:
    async def test_a_file_is_found_by_its_hash_and_stored_once(self, objects: Objects, bus: Bus) -> None:
        contents = (b"", b"photo", os.urandom(10 * 1024 * 1024))
        for content in contents:
            sha256 = hashlib.sha256(content).hexdigest()
            assert await asyncio.gather(*(objects.put(content) for _ in range(3))) == [sha256] * 3
            assert await objects.get(sha256) == content
        assert [message.data for message in await bus.all_of(FILES, "file.>")] == list(contents)
        assert await objects.get("0" * 64) is None

    async def test_a_destroyed_file_is_gone_and_takes_nothing_from_others(self, objects: Objects, bus: Bus) -> None:
        content = b"photo of a person"
        sha256 = await objects.put(content, of="case-1")
        assert await objects.put(content) == await objects.put(content, of="case-2") == sha256
        await objects.delete(sha256, of="case-1")
        assert await objects.get(sha256, of="case-1") is None
        assert await objects.get(sha256) == await objects.get(sha256, of="case-2") == content
        await objects.delete(sha256, of="case-2")
        assert [message.subject for message in await bus.all_of(FILES, "file.>")] == [f"file.shared.{sha256}"]
        await objects.delete(sha256, of="case-2")
        await objects.put(content, of="case-2")
        assert await objects.get(sha256, of="case-2") == content

    @pytest.mark.parametrize("sha256", ["", "../x", "0" * 63, "G" * 64, "A" * 64, "0" * 64 + "\n"])
    async def test_what_is_no_hash_is_refused_by_name(self, objects: Objects, sha256: str) -> None:
        for asked in (objects.get(sha256), objects.get(sha256, of="case-1"), objects.delete(sha256, of="case-1")):
            with pytest.raises(InvalidInput) as refused:
                await asked
            assert refused.value.subject == "sha256"

    @pytest.mark.parametrize("of", [">", "a b", "case-1.", "case\n"])
    async def test_whose_own_a_file_is_has_to_be_a_key(self, objects: Objects, of: str) -> None:
        for asked in (objects.get("0" * 64, of=of), objects.delete("0" * 64, of=of)):
            with pytest.raises(InvalidInput):
                await asked
