"""What every bus, ledger, bucket and store of files has to do: in memory, and on a real nats-server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from hub.bus import Bucket, Bus, Change, Entry, KeyExists, WrongSequence
from hub.bus.buckets import revise
from hub.bus.streams import DISPATCH, KEYS, LEDGER
from hub.errors import BusUnavailable, InvalidInput, LedgerConflict, LedgerDamaged
from hub.model.actors import SYSTEM
from hub.model.aggregate import Aggregates, Commit, Folded, MatterId
from hub.model.case import CASE
from hub.model.case.commands import Comment
from hub.model.case.state import Case
from hub.spine.ledger.store import CheckpointFile, Ledger
from hub.testing.kit import PATIENCE, eventually
from hub.testing.memory import MemoryBucket, MemoryBus, MemoryLedger
from tests.unit.case_play import CODEC, Play

pytestmark = pytest.mark.asyncio(loop_scope="module")
fixture = pytest_asyncio.fixture
NAMES = count()


class Heard:
    """Collects what an endless iterator gives, in a task of its own."""

    def __init__(self, source: AsyncIterator[Any]) -> None:
        self.items: list[Any] = []
        self._source = source

    async def __aenter__(self) -> list[Any]:
        self._task = asyncio.create_task(self._listen())
        return self.items

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _listen(self) -> None:
        async for item in self._source:
            self.items.append(item)


async def listed(source: AsyncIterator[Any]) -> list[Any]:
    return [item async for item in source]


class TestBus:
    async def test_a_message_comes_back_as_it_was_published(self, bus: Bus) -> None:
        assert await bus.last(KEYS, "key.a") is None
        sequence = await bus.publish("key.a", b"1", headers={"traceparent": "00-1"})
        found = await bus.last(KEYS, "key.a")
        assert found is not None
        assert (found.subject, found.data, found.sequence) == ("key.a", b"1", sequence)
        assert found.headers["traceparent"] == "00-1"

    async def test_a_publish_with_a_stale_expected_sequence_is_refused(self, bus: Bus) -> None:
        first = await bus.publish("key.a", b"1", expect=0)
        await bus.publish("key.b", b"1", expect=0)
        second = await bus.publish("key.a", b"2", expect=first)
        for stale in (0, first, second + 1):
            with pytest.raises(WrongSequence):
                await bus.publish("key.a", b"3", expect=stale)
        found = await bus.last(KEYS, "key.a")
        assert found is not None
        assert (found.data, found.sequence) == (b"2", second)

    async def test_of_two_that_expect_the_same_one_comes_first(self, bus: Bus) -> None:
        answers = await asyncio.gather(*(bus.publish("key.a", b"%d" % n, expect=0) for n in range(8)), return_exceptions=True)
        assert [type(answer) for answer in answers].count(WrongSequence) == 7

    async def test_a_stream_keeps_of_a_subject_what_it_is_made_for(self, bus: Bus) -> None:
        for n in range(3):
            await bus.publish("key.a", b"%d" % n)
            await bus.publish("ledger.case.a", b"%d" % n)
        assert [m.data for m in await bus.all_of(KEYS, "key.a")] == [b"2"]
        assert [m.data for m in await bus.all_of(LEDGER, "ledger.case.a")] == [b"0", b"1", b"2"]

    async def test_subjects_are_found_by_their_parts(self, bus: Bus) -> None:
        sequences = [await bus.publish(f"ledger.{name}", b"") for name in ("a.x", "a.y", "b.x", "a.y.z")]
        a_x, a_y, b_x, a_y_z = sequences
        for pattern, found in (("a.*", [a_x, a_y]), ("a.>", [a_x, a_y, a_y_z]), ("*.x", [a_x, b_x])):
            assert [m.sequence for m in await bus.all_of(LEDGER, f"ledger.{pattern}")] == found
        assert [m.sequence for m in await bus.all_of(LEDGER, "ledger.>", until=b_x)] == sequences[:3]
        last = await bus.last(LEDGER, "ledger.*.x")
        assert last is not None
        assert last.sequence == b_x

    async def test_a_message_with_the_same_id_is_stored_once(self, bus: Bus) -> None:
        first = await bus.publish("dispatch.gas.1", b"1", message_id="1")
        assert await bus.publish("dispatch.gas.1", b"1", message_id="1") == first
        assert await bus.publish("dispatch.gas.1", b"1", message_id="2") > first
        assert len(await bus.all_of(DISPATCH, "dispatch.>")) == 2

    async def test_what_no_stream_takes_and_a_stream_that_is_none_are_no_answer(self, bus: Bus) -> None:
        with pytest.raises(BusUnavailable):
            await bus.publish("nobody.a", b"1")
        for asked in (bus.last("NOBODY", "key.a"), bus.all_of("NOBODY", "key.a")):
            with pytest.raises(BusUnavailable):
                await asked

    async def test_following_gives_what_is_there_then_what_comes(self, bus: Bus) -> None:
        sequences = [await bus.publish(f"ledger.case.{n % 2}", b"%d" % n) for n in range(6)]
        at_once = await listed(bus.follow(LEDGER, "ledger.case.1", sequences[1], live=False))
        assert [m.data for messages in at_once for m in messages] == [b"3", b"5"]
        assert await listed(bus.follow(LEDGER, "ledger.case.1", sequences[-1], live=False)) == []
        async with Heard(bus.follow(LEDGER, "ledger.case.1", sequences[3])) as heard:
            await eventually(lambda: heard)
            await bus.publish("ledger.case.0", b"6")
            await bus.publish("ledger.case.1", b"7")
            await eventually(lambda: [m.data for messages in heard for m in messages] == [b"5", b"7"])


# --- the ledger ---


@fixture(loop_scope="module")
async def ledger(bus: Bus | MemoryBus, tmp_path: Path) -> Ledger:
    if isinstance(bus, MemoryBus):
        return MemoryLedger(Aggregates(CASE), bus)
    return Ledger(bus, CheckpointFile(tmp_path / "checkpoint.json"), Aggregates(CASE))


class Matter:
    """A case that a person comments on, and how it stands after each of its commits."""

    def __init__(self, comments: int, *, suffix: str = "0123456789abcdef") -> None:
        play = Play(suffix=suffix)
        play.report()
        self.id = play.id
        self.states = [play.case]
        for n in range(comments):
            play.do(Comment(text=f"备注{n}"), SYSTEM)
            self.states.append(play.case)
        self.commits: list[Commit[Any]] = [CODEC.decode(raw) for raw in play.commits]

    async def filed(self, ledger: Ledger, *, last: int = 0, start: int = 0, until: int | None = None) -> list[int]:
        """Append the commits from `start`, the first one behind the sequence `last`; their sequences."""
        sequences = []
        for commit in self.commits[start:until]:
            last, _ = await ledger.append(commit, after=last)
            sequences.append(last)
        return sequences


async def loaded(ledger: Ledger, id: MatterId, **until: int) -> Folded[Case]:
    found = await ledger.load(id, **until)
    assert found is not None
    return found


class TestLedger:
    async def test_commits_come_back_as_they_were_appended(self, ledger: Ledger) -> None:
        matter = Matter(2)
        assert await ledger.commits(matter.id) == []
        last, raws = 0, []
        for commit in matter.commits:
            last, raw = await ledger.append(commit, after=last)
            raws.append(raw)
            assert CODEC.decode(raw) == commit
        found = await ledger.commits(matter.id)
        assert [commit for _, commit in found] == matter.commits
        assert found[-1][0] == last
        assert ledger.read(CASE.subject(matter.id), raws[-1]) == matter.commits[-1]

    async def test_a_commit_behind_a_stale_sequence_is_refused_and_leaves_nothing(self, ledger: Ledger) -> None:
        matter = Matter(2)
        with pytest.raises(WrongSequence):
            await ledger.append(matter.commits[0], after=7)
        first, second = await matter.filed(ledger, until=2)
        for stale in (0, first, second + 1):
            with pytest.raises(WrongSequence):
                await ledger.append(matter.commits[2], after=stale)
        assert [sequence for sequence, _ in await ledger.commits(matter.id)] == [first, second]

    async def test_of_several_commits_behind_the_same_one_is_taken(self, ledger: Ledger) -> None:
        matter = Matter(1)
        (first,) = await matter.filed(ledger, until=1)
        answers = await asyncio.gather(
            *(ledger.append(matter.commits[1], after=first) for _ in range(8)), return_exceptions=True
        )
        assert [type(answer) for answer in answers].count(WrongSequence) == 7
        assert len(await ledger.commits(matter.id)) == 2

    async def test_a_matter_is_folded_from_its_commits_up_to_any_sequence(self, ledger: Ledger) -> None:
        matter, other = Matter(3), Matter(1, suffix="fedcba9876543210")
        assert await ledger.load(matter.id) is None
        first, *_, last = await matter.filed(ledger, until=3)
        await other.filed(ledger)
        folded = await loaded(ledger, matter.id)
        assert (folded.id, folded.state, folded.number, folded.sequence) == (matter.id, matter.states[2], 3, last)
        assert folded.digest == matter.commits[3].previous
        assert set(folded.commands) == {commit.command_id for commit in matter.commits[:3]}
        early = await loaded(ledger, matter.id, until=first)
        assert (early.state, early.number, early.sequence) == (matter.states[0], 1, first)
        assert await ledger.load(other.id, until=first) is None
        with pytest.raises(ValueError, match="not the id"):
            await ledger.load(MatterId("nothing"))

    async def test_a_commit_that_does_not_carry_the_hash_of_the_one_before_is_noticed(self, ledger: Ledger) -> None:
        matter = Matter(2)
        _, last = await matter.filed(ledger, until=2)
        known = await loaded(ledger, matter.id)
        await ledger.append(matter.commits[1], after=last)
        with pytest.raises(LedgerDamaged):
            await ledger.load(matter.id)
        with pytest.raises(LedgerDamaged):
            await ledger.newer(known)

    @pytest.mark.parametrize("more", [1, 2, 300])
    async def test_whoever_knows_an_older_state_learns_the_newest(self, ledger: Ledger, more: int) -> None:
        matter = Matter(more)
        (first,) = await matter.filed(ledger, until=1)
        known = await loaded(ledger, matter.id)
        assert await ledger.newer(known) is None
        await matter.filed(ledger, last=first, start=1)
        newest = await ledger.newer(known)
        assert newest == await ledger.load(matter.id)
        assert newest is not None
        assert (newest.state, newest.number) == (matter.states[-1], more + 1)
        assert await ledger.newer(newest) is None

    async def test_following_gives_every_commit_behind_a_sequence_with_its_hash(self, ledger: Ledger) -> None:
        matter = Matter(600)
        sequences = await matter.filed(ledger)
        found = await listed(ledger.follow(sequences[1], live=False))
        assert [item[:2] for item in found] == list(zip(sequences, matter.commits, strict=True))[2:]
        assert [own for _, _, own in found[:-1]] == [commit.previous for commit in matter.commits[3:]]
        batches = await listed(ledger.follow_batches(sequences[1], live=False))
        assert [item for batch in batches for item in batch] == found
        assert await listed(ledger.follow(sequences[-1], live=False)) == []

    async def test_following_a_subject_gives_only_what_fits(self, ledger: Ledger) -> None:
        one, other = Matter(1), Matter(2, suffix="fedcba9876543210")
        first = await one.filed(ledger, until=1)
        await other.filed(ledger)
        await one.filed(ledger, start=1, last=first[0])
        own = await listed(ledger.follow(0, subject=CASE.subject(one.id), live=False))
        assert [commit for _, commit, _ in own] == one.commits
        everything = await listed(ledger.follow(0, subject="ledger.case.>", live=False))
        assert len(everything) == 5
        assert await listed(ledger.follow(0, subject="ledger.case.999999.>", live=False)) == []

    async def test_live_following_sees_later_commits_each_once(self, ledger: Ledger) -> None:
        matter = Matter(5)
        sequences = await matter.filed(ledger, until=2)
        async with Heard(ledger.follow(sequences[0])) as heard:
            await eventually(lambda: heard)
            await ledger.publish_policy({"routing.yaml": "1"}, SYSTEM)
            sequences += await matter.filed(ledger, start=2, last=sequences[-1])
            await eventually(lambda: len(heard) >= 5)
            assert [item[:2] for item in heard] == list(zip(sequences, matter.commits, strict=True))[1:]

    async def test_the_last_sequence_is_that_of_the_last_commit(self, ledger: Ledger) -> None:
        assert await ledger.last_sequence() == 0
        await ledger.publish_policy({"routing.yaml": "1"}, SYSTEM)
        assert await ledger.last_sequence() == 0
        sequences = await Matter(1).filed(ledger)
        await ledger.publish_policy({"routing.yaml": "2"}, SYSTEM)
        assert await ledger.last_sequence() == sequences[-1]
        assert sequences[0] > 1, "a policy has a place in the ledger, too"

    async def test_policies_are_numbered_and_chained_and_no_commits(self, ledger: Ledger) -> None:
        assert (await ledger.policies(), await ledger.policy()) == ([], None)
        for version in (1, 2, 3):
            assert await ledger.publish_policy({"routing.yaml": str(version)}, SYSTEM) == version
        found = await ledger.policies()
        assert [(record.version, record.sources, record.actor) for record in found] == [
            (version, {"routing.yaml": str(version)}, SYSTEM) for version in (1, 2, 3)
        ]
        assert found[0].previous == ""
        assert len({record.previous for record in found}) == 3
        assert await ledger.policy() == found[-1]
        assert await listed(ledger.follow(0, live=False)) == []

    async def test_of_two_policies_at_once_one_is_published(self, ledger: Ledger) -> None:
        answers = await asyncio.gather(
            *(ledger.publish_policy({"routing.yaml": "1"}, SYSTEM) for _ in range(3)), return_exceptions=True
        )
        assert sorted(str(answer) for answer in answers if not isinstance(answer, LedgerConflict)) == ["1"]
        assert len(await ledger.policies()) == 1


# --- buckets ---


@fixture(loop_scope="module", params=["memory", "nats"])
async def bucket(request: pytest.FixtureRequest, real: Bus) -> Bucket | MemoryBucket:
    return MemoryBucket() if request.param == "memory" else await Bucket.open(real, f"TEST{next(NAMES)}")


class TestBucket:
    async def test_a_value_is_kept_until_another_takes_its_place(self, bucket: Bucket) -> None:
        assert await bucket.get("a.b") is None
        first = await bucket.put("a.b", b"1")
        assert await bucket.get("a.b") == Entry(b"1", first)
        second = await bucket.put("a.b", b"")
        assert second > first
        assert await bucket.get("a.b") == Entry(b"", second), "no bytes are a value, too"
        assert await bucket.entries() == {"a.b": Entry(b"", second)}

    async def test_a_key_is_created_once(self, bucket: Bucket) -> None:
        answers = await asyncio.gather(*(bucket.create("a", b"%d" % n) for n in range(8)), return_exceptions=True)
        assert [type(answer) for answer in answers].count(KeyExists) == 7
        with pytest.raises(KeyExists):
            await bucket.create("a", b"9")

    @pytest.mark.parametrize("remove", ["delete", "purge"])
    async def test_a_removed_key_is_gone_and_can_be_created_again(self, bucket: Bucket, remove: str) -> None:
        stale = await bucket.put("a", b"1")
        await bucket.put("b", b"1")
        await getattr(bucket, remove)("a")
        assert await bucket.get("a") is None
        assert list(await bucket.entries()) == ["b"]
        with pytest.raises(LedgerConflict):
            await bucket.update("a", b"2", stale)
        fresh = await bucket.create("a", b"3")
        assert await bucket.get("a") == Entry(b"3", fresh)
        assert fresh > stale + 2, "the removal has a revision, too"

    @pytest.mark.parametrize("remove", ["delete", "purge"])
    async def test_what_is_not_there_can_be_removed(self, bucket: Bucket, remove: str) -> None:
        await getattr(bucket, remove)("a")
        await getattr(bucket, remove)("a")
        assert await bucket.get("a") is None
        await bucket.create("a", b"1")

    async def test_what_several_make_of_a_value_at_once_is_all_in_it(self, bucket: Bucket) -> None:
        await asyncio.gather(*(revise(bucket, "a", lambda before, n=n: (before or b"") + b"%d" % n) for n in range(6)))
        stored = await bucket.get("a")
        assert sorted(await revise(bucket, "a", lambda before: before or b"")) == sorted(b"012345")
        assert await bucket.get("a") == stored, "what stays as it is is not written"

    async def test_an_update_takes_the_place_of_its_own_revision_only(self, bucket: Bucket) -> None:
        with pytest.raises(LedgerConflict):
            await bucket.update("a", b"1", 7)
        first = await bucket.create("a", b"1")
        second = await bucket.update("a", b"2", first)
        for stale in (0, first, second + 1):
            with pytest.raises(LedgerConflict):
                await bucket.update("a", b"3", stale)
        assert await bucket.get("a") == Entry(b"2", second)

    async def test_an_update_over_nothing_creates(self, bucket: Bucket) -> None:
        first = await bucket.update("a", b"1", 0)
        assert await bucket.get("a") == Entry(b"1", first)

    async def test_of_several_updates_of_one_revision_one_is_taken(self, bucket: Bucket) -> None:
        first = await bucket.create("a", b"0")
        answers = await asyncio.gather(*(bucket.update("a", b"1", first) for _ in range(8)), return_exceptions=True)
        assert [type(answer) for answer in answers].count(LedgerConflict) == 7

    async def test_a_listing_gives_what_fits_in_the_order_it_was_written(self, bucket: Bucket) -> None:
        for key in ("b", "a.b.2", "a.d", "a.c.1", "a.b.1"):
            await bucket.put(key, key.encode())
        await bucket.put("b", b"again")
        assert list(await bucket.entries()) == ["a.b.2", "a.d", "a.c.1", "a.b.1", "b"]
        assert list(await bucket.entries("a.*.1")) == ["a.c.1", "a.b.1"]
        assert await bucket.entries("a.b.*") == {key: await bucket.get(key) for key in ("a.b.1", "a.b.2")}
        assert list(await bucket.entries("a.>")) == ["a.b.2", "a.d", "a.c.1", "a.b.1"]
        assert list(await bucket.entries("b")) == ["b"]
        assert await bucket.entries("c.>") == {}
        assert await bucket.entries("a") == {}

    async def test_changes_tell_what_keys_hold_and_what_was_removed(self, bucket: Bucket) -> None:
        for key in ("a.pause", "b.pause", "a.store.x", "c.pause"):
            await bucket.put(key, b"1")
        await bucket.purge("b.pause")
        await bucket.delete("c.pause")
        last = await bucket.put("a.pause", b"2")
        found = await listed(bucket.changes("*.pause", live=False))
        assert [(change.key, change.value) for change in found] == [("b.pause", b""), ("c.pause", b""), ("a.pause", b"2")]
        assert await listed(bucket.changes("*.pause", after=found[0].revision, live=False)) == found[1:]
        assert found[-1] == Change("a.pause", b"2", last)
        assert await listed(bucket.changes("*.pause", after=last, live=False)) == []

    async def test_live_changes_go_on_with_what_comes(self, bucket: Bucket) -> None:
        first = await bucket.put("a.pause", b"1")
        async with Heard(bucket.changes("*.pause", after=first - 1)) as heard:
            await eventually(lambda: heard)
            await bucket.put("a.store", b"1")
            await bucket.put("b.pause", b"2")
            await eventually(lambda: len(heard) == 2)
            await bucket.purge("a.pause")
            await eventually(lambda: len(heard) == 3)
            assert [(change.key, change.value) for change in heard] == [("a.pause", b"1"), ("b.pause", b"2"), ("a.pause", b"")]

    async def test_a_change_made_while_an_earlier_one_is_looked_at_is_not_missed(self, bucket: Bucket) -> None:
        for key in ("a", "b"):
            await bucket.put(key, b"1")
        seen = []
        async with asyncio.timeout(PATIENCE):
            async for change in bucket.changes(">"):
                seen.append(change.key)
                if change.key == "a":
                    await bucket.put("c", b"1")
                if change.key == "c":
                    break
        assert seen == ["a", "b", "c"]

    @pytest.mark.parametrize("key", ["", ".", "a.", ".a", "a..b", "a b", "a/b", "a\n", "a.*", ">", "街道", "a" * 301])
    async def test_what_can_be_no_key_is_refused_by_name(self, bucket: Bucket, key: str) -> None:
        for asked in (
            bucket.get(key),
            bucket.put(key, b"1"),
            bucket.create(key, b"1"),
            bucket.update(key, b"1", 1),
            bucket.delete(key),
            bucket.purge(key),
        ):
            with pytest.raises(InvalidInput) as refused:
                await asked
            assert refused.value.subject == "key"

    @pytest.mark.parametrize("pattern", ["", "a..b", ">.a", "a b", "a.b*", "a.>\n"])
    async def test_what_can_be_no_pattern_is_refused_by_name(self, bucket: Bucket, pattern: str) -> None:
        with pytest.raises(InvalidInput) as refused:
            await bucket.entries(pattern)
        assert refused.value.subject == "key"


# --- files ---
