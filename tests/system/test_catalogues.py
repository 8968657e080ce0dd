"""Catalogues and crosswalks on a real server: a change is reviewed, nothing is deleted by itself, a dry run tells before it hurts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hub.bus import Bucket, Bus
from hub.contract import Capability, Crosswalk, FeedbackKind
from hub.errors import InvalidInput, LedgerConflict, NotAllowed
from hub.model.actors import SYSTEM
from hub.platform.instances.registration import By, Patch
from hub.platform.upkeep.crosswalk import Tables
from hub.platform.upkeep.heard_words import MOST_WORDS, OTHERS, HeardWords
from hub.platform.upkeep.repairs import RepairKind
from tests.system.audited import NAME, Office, bench

CODES = {"RQ01": "燃气泄漏", "RQ02": "燃气停供", "SD01": "水管爆裂"}
OWN = Crosswalk(
    statuses={"处理中": FeedbackKind.PROGRESS, "办结": FeedbackKind.RESOLVED},
    categories={"E04": "RQ01", "E0102": "SD01"},
    fields={"title": "subject"},
)


async def test_first_catalogue_is_accepted_and_a_change_is_one_reviewed_repair(tmp_path: Path) -> None:
    office = Office(codes=dict(CODES))
    async with bench(tmp_path, office, Capability.CATALOGUE, crosswalk=OWN) as made:
        assert (await made.reconciled()).catalogue == "same"
        first = await made.catalogues.show(NAME)
        assert (first.accepted.version, first.accepted.by, first.accepted.codes) == (1, "hub", CODES)
        office.codes = {"RQ02": "燃气中断", "SD01": "水管爆裂", "RQ03": "燃气表故障"}
        for _ in range(2):
            assert (await made.reconciled()).catalogue == "changed"
        (item,) = await made.open_repairs()
        assert item.kind is RepairKind.CATALOGUE_CHANGED
        assert item.count == 2
        for words in (
            "新增 1 项（RQ03 燃气表故障）",
            "取消 1 项（RQ01 燃气泄漏）",
            "改名 1 项（RQ02 燃气停供→燃气中断）",
            "E04→RQ01",
        ):
            assert words in item.text
        view = await made.catalogues.show(NAME)
        assert view.accepted.codes == CODES
        assert view.drift.renamed == {"RQ02": ("燃气停供", "燃气中断")}
        assert made.crosswalks.in_force(NAME).categories["E04"] == "RQ01"


async def test_accepting_takes_over_what_was_looked_at_and_keeps_every_version(tmp_path: Path) -> None:
    office = Office(codes=dict(CODES))
    async with bench(tmp_path, office, Capability.CATALOGUE) as made:
        with pytest.raises(NotAllowed):
            await made.catalogues.show(NAME)
        await made.reconciled()
        with pytest.raises(InvalidInput, match="is the accepted one"):
            await made.catalogues.accept(NAME, "李工")
        office.codes = CODES | {"RQ03": "燃气表故障"}
        await made.reconciled()
        looked_at = (await made.catalogues.show(NAME)).seen.digest
        office.codes = CODES | {"RQ03": "燃气表故障", "RQ04": "燃气表更换"}
        await made.reconciled()
        with pytest.raises(LedgerConflict, match="look again"):
            await made.catalogues.accept(NAME, "李工", digest=looked_at)
        taken = await made.catalogues.accept(NAME, "李工", digest=(await made.catalogues.show(NAME)).seen.digest)
        assert (taken.version, taken.by, taken.codes) == (2, "李工", office.codes)
        assert [one.version for one in await made.catalogues.versions(NAME)] == [1, 2]
        assert not await made.open_repairs()


async def test_a_change_that_is_taken_back_resolves_its_repair(tmp_path: Path) -> None:
    office = Office(codes=dict(CODES))
    async with bench(tmp_path, office, Capability.CATALOGUE) as made:
        await made.reconciled()
        office.codes = {}
        await made.reconciled()
        assert len(await made.open_repairs()) == 1
        office.codes = dict(CODES)
        await made.reconciled()
        assert not await made.open_repairs()


async def test_accepting_a_catalogue_leaves_what_the_crosswalk_points_to_in_the_open(tmp_path: Path) -> None:
    office = Office(codes=dict(CODES))
    async with bench(tmp_path, office, Capability.CATALOGUE, crosswalk=OWN) as made:
        await made.reconciled()
        office.codes = {"RQ02": "燃气停供", "SD01": "水管爆裂"}
        await made.reconciled()
        await made.catalogues.accept(NAME, "李工")
        (item,) = await made.open_repairs()
        assert "E04→RQ01" in item.text
        assert item.details["went"] == "0"


async def test_dry_run_says_what_would_come_out_differently_and_changes_nothing(tmp_path: Path) -> None:
    async with bench(tmp_path, Office(), crosswalk=OWN) as made:
        case, key = await made.delivered()
        (running,) = made.hub.adapters.versions_here(NAME)
        for _ in range(3):
            await running.health()
        found = await made.crosswalks.dry_run(
            NAME,
            Tables(statuses={"已转派": "accepted"}, categories={"E0401": "RQ02", "E04": "RQ01"}, fields={"text": "content"}),
        )
        (change,) = found.words
        assert (change.word, change.before, change.after, change.count) == ("已转派", None, FeedbackKind.ACCEPTED, 3)
        assert [(one.key, one.case, one.state) for one in change.concerned] == [(key, case.id, "delivered")]
        assert found.unmapped_words == []
        (row,) = found.categories
        assert (row.code, row.count, row.open, row.before, row.after, row.changed) == ("E0401", 1, 1, "RQ01", "RQ02", True)
        assert [(one.field, one.before, one.after) for one in found.fields] == [("text", "text", "content")]
        shown = await made.crosswalks.show(NAME)
        assert shown.unmapped_words == ["已转派"]
        assert "已转派" not in shown.statuses
        with pytest.raises(InvalidInput, match="none of accepted"):
            await made.crosswalks.dry_run(NAME, Tables(statuses={"已转派": "转派"}))


async def test_a_changed_crosswalk_is_a_version_and_resolves_the_words_it_maps(tmp_path: Path) -> None:
    async with bench(tmp_path, Office(), crosswalk=OWN) as made:
        (running,) = made.hub.adapters.versions_here(NAME)
        await running.health()
        await made.repairs.say("unmapped_status", NAME, "已转派", "对照表中没有状态“已转派”")
        await made.repairs.say("unmapped_status", NAME, "挂账", "对照表中没有状态“挂账”")
        await made.repairs.say("unmapped_answer", NAME, "satisfied.凑合", "对照表中没有满意度“凑合”")
        patch = Patch(statuses={"已转派": "progress"}, satisfied={"凑合": "mostly"})
        await made.hub.registration.change(NAME, patch, By(actor=SYSTEM, untried=True))
        assert await made.crosswalks.settle(NAME) == 2
        assert [item.subject for item in await made.open_repairs()] == ["挂账"]
        shown = await made.crosswalks.show(NAME)
        assert (shown.version, shown.own["statuses"]) == (1, ["已转派"])
        assert shown.statuses["办结"] is FeedbackKind.RESOLVED


async def test_words_are_counted_coarsely_by_every_process_and_bounded(bus: Bus) -> None:
    at = datetime(2026, 11, 23, tzinfo=UTC)
    bucket = await Bucket.open(bus, "RECONCILIATION")
    one, other = (HeardWords(bucket, clock=lambda: at, hold=3600) for _ in range(2))
    for number in range(50):
        one.heard("lamps", "处理中", FeedbackKind.PROGRESS, f"T-{number}")
    assert await bucket.get("words.lamps") is None
    other.heard("lamps", "处理中", None, "T-99")
    await one.close()
    await other.close()
    (word,) = await one.of("lamps")
    assert (word.count, word.result, len(word.about), word.about[:2]) == (51, None, 20, ("T-99", "T-49"))
    at += timedelta(hours=1)
    for number in range(MOST_WORDS + 50):
        one.heard("lamps", f"状态{number}", None, None)
    await one.close()
    kept = {found.word: found.count for found in await one.of("lamps")}
    assert len(kept) <= MOST_WORDS + 1
    assert sum(kept.values()) == 51 + MOST_WORDS + 50
    assert kept[OTHERS] >= 50
