"""The ledger on a real server: concurrency, chains, the checkpoint outside the store, refusal to serve."""

from __future__ import annotations

import asyncio
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hub.app import Hub
from hub.bus import Bus, EmbeddedServer
from hub.errors import InvalidInput, LedgerDamaged, TransitionRefused
from hub.model.actors import SYSTEM
from hub.model.case import CASE
from hub.model.case.commands import Comment, Escalate, Void
from hub.settings import Settings
from hub.spine.ledger.codec import Codec
from hub.spine.ledger.store import Checkpoint, CheckpointFile
from tests.system.department import CONFIG, report_gas, running_hub
from tests.system.matters import second_desk


async def many_cases(hub: Hub, count: int) -> None:
    for _ in range(count):
        outcome = await report_gas(hub)
        await asyncio.gather(*(hub.desk.execute(outcome.state.id, Comment(text="备注" * 40), actor=SYSTEM) for _ in range(3)))


async def test_concurrent_commands_from_two_processes_all_land_one_after_the_other(tmp_path: Path) -> None:
    async with running_hub(tmp_path, {}, stages=False) as hub:
        outcome = await report_gas(hub)
        other = second_desk(hub, tmp_path)
        await asyncio.gather(
            *(
                desk.execute(outcome.state.id, Comment(text=f"{n}"), actor=SYSTEM)
                for n in range(10)
                for desk in (hub.desk, other)
            )
        )
        folded = await hub.ledger.load(outcome.state.id)
        assert folded is not None
        assert folded.number == 21


async def test_of_two_contradicting_commands_one_wins_and_the_other_is_refused_with_a_reason(tmp_path: Path) -> None:
    async with running_hub(tmp_path, {}, stages=False) as hub:
        outcome = await report_gas(hub)
        other = second_desk(hub, tmp_path)
        await other.load(outcome.state.id)
        results = await asyncio.gather(
            hub.desk.execute(outcome.state.id, Void(reason="测试工单"), actor=SYSTEM),
            other.execute(outcome.state.id, Void(reason="测试工单"), actor=SYSTEM),
            return_exceptions=True,
        )
        refused = [r for r in results if isinstance(r, TransitionRefused)]
        assert len(refused) == 1, results
        assert refused[0].command == "void"
        assert refused[0].rule


async def test_a_repeated_command_id_does_nothing_and_another_content_is_refused(tmp_path: Path) -> None:
    async with running_hub(tmp_path, {}, stages=False) as hub:
        outcome = await report_gas(hub)
        first = await hub.desk.execute(outcome.state.id, Comment(text="一次"), actor=SYSTEM, command_id="k")
        again = await hub.desk.execute(outcome.state.id, Comment(text="一次"), actor=SYSTEM, command_id="k")
        assert again.repeated
        assert again.folded.number == first.folded.number
        with pytest.raises(InvalidInput, match="another content"):
            await hub.desk.execute(outcome.state.id, Comment(text="两次"), actor=SYSTEM, command_id="k")


async def test_a_refused_command_changes_nothing(tmp_path: Path) -> None:
    async with running_hub(tmp_path, {}, stages=False) as hub:
        outcome = await report_gas(hub)
        before = await hub.ledger.last_sequence()
        with pytest.raises(InvalidInput):
            await hub.desk.execute(outcome.state.id, Escalate(reason=""), actor=SYSTEM)
        assert await hub.ledger.last_sequence() == before


async def test_a_changed_commit_breaks_the_chain_and_is_noticed(tmp_path: Path) -> None:
    async with running_hub(tmp_path, {}, stages=False) as hub:
        outcome = await report_gas(hub)
        commits = await hub.ledger.commits(outcome.state.id)
        forged = Codec(CASE).encode(commits[-1][1]).replace(b"E0401", b"E0402")
        await hub.bus.publish(CASE.subject(outcome.state.id), forged)
        with pytest.raises(LedgerDamaged):
            await hub.ledger.load(outcome.state.id)
        with pytest.raises(LedgerDamaged):
            await hub.ledger.verify()


async def test_one_flipped_bit_in_a_block_makes_the_hub_refuse_to_serve(tmp_path: Path) -> None:
    async with running_hub(tmp_path, {}, stages=False) as hub:
        await many_cases(hub, 60)
        await hub.ledger.checkpoint()
    blocks = sorted((tmp_path / "nats" / "jetstream").rglob("LEDGER/msgs/*.blk"), key=lambda p: p.stat().st_size)
    content = bytearray(blocks[-1].read_bytes())
    content[len(content) // 2] ^= 0x01
    blocks[-1].write_bytes(content)
    for index in (tmp_path / "nats" / "jetstream").rglob("LEDGER/msgs/index.db"):
        index.unlink()  # as after a crash: the server rebuilds its state from the blocks
    with pytest.raises(LedgerDamaged, match="restore"):
        async with running_hub(tmp_path, {}, stages=False):
            raise AssertionError("it serves on a damaged ledger")


async def test_a_lost_tail_is_noticed_by_the_checkpoint(tmp_path: Path) -> None:
    async with running_hub(tmp_path, {}, stages=False) as hub:
        await many_cases(hub, 3)
        await hub.ledger.checkpoint()
    # an older copy of the store under a newer checkpoint: what a bad restore or a lost disk gives
    kept = tmp_path / "checkpoint.json"
    mark = kept.read_text()
    shutil.rmtree(tmp_path / "nats" / "jetstream")
    with pytest.raises(LedgerDamaged, match="acknowledged messages are gone"):
        async with running_hub(tmp_path, {}, stages=False):
            raise AssertionError("it serves on an empty ledger")
    assert kept.read_text() == mark


async def test_a_ledger_that_shrinks_while_serving_stops_the_hub(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path / "nats", port=0)
    await server.start()
    bus = await Bus.connect(server.url)
    try:
        async with Hub.open(
            Settings(data=tmp_path / "hub", config=CONFIG).model_copy(
                update={"nats": Settings().nats.model_copy(update={"url": server.url})}
            ),
            instances=(),
        ) as hub:
            await report_gas(hub)
            await hub.ledger.checkpoint()
            config = (await bus.api("STREAM.INFO.LEDGER"))["config"]
            await bus.api("STREAM.DELETE.LEDGER")
            await bus.api("STREAM.CREATE.LEDGER", config)
            with pytest.raises(LedgerDamaged, match="while serving"):
                await hub.ledger.checkpoint()
    finally:
        await bus.close()
        await server.stop()


async def test_the_whole_ledger_verifies(tmp_path: Path) -> None:
    async with running_hub(tmp_path, {}, stages=False) as hub:
        await many_cases(hub, 5)
        count, digest = await hub.ledger.verify()
        assert count == 20
        assert len(digest) == 64


def test_checkpoints_written_at_the_same_time_leave_one_whole(tmp_path: Path) -> None:
    file = CheckpointFile(tmp_path / "checkpoint.json")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: file.write(Checkpoint(number, "00", "now")), range(400)))
    found = file.read()
    assert found is not None
    assert found.digest == "00"
