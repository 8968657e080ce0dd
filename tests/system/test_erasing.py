"""Erasing a contact goes on to the end, whatever stops in between."""

from __future__ import annotations

from pathlib import Path

import pytest

from hub.bus import Bucket
from hub.bus.streams import FILES, REACTIONS, stream_state
from hub.errors import BusUnavailable, TransitionRefused
from hub.model.actors import SYSTEM
from hub.model.case.commands import AccessContact, EraseContact
from hub.model.case.events import ContactDestroyed, ContactErased
from hub.model.case.state import CaseId, Channel
from hub.model.district.areas import AreaCode
from hub.spine.ledger.desk import utc_now
from hub.spine.ways_in.intake import Entry
from hub.testing.kit import eventually
from tests.system.department import GRID
from tests.system.hubs import one_bus
from tests.system.intake_world import PHOTO, SOMEBODY


@pytest.mark.parametrize("step", ["before the key", "between key and files", "before it is recorded"])
async def test_an_erasure_that_was_cut_off_is_finished_by_the_next_hub(
    tmp_path: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with one_bus(tmp_path) as bus:
        async with bus.hub("a") as a:
            entry = Entry(
                channel=Channel.RESIDENT,
                title="楼道堆物",
                text="二楼楼道堆了杂物",
                area=AreaCode(GRID),
                reported_at=utc_now(),
                contact=SOMEBODY,
                files=(PHOTO,),
            )
            case = (await a.intake.report(entry, actor=SYSTEM)).state.id
            assert await a.vault.open(case) == SOMEBODY
            tried = []

            async def cut_off(*_: object, **__: object) -> None:
                tried.append(step)
                raise BusUnavailable("the hub is being killed")

            if step == "before the key":
                monkeypatch.setattr(a.vault, "erase", cut_off)
            elif step == "between key and files":
                monkeypatch.setattr(a.objects, "delete", cut_off)
            else:
                execute = a.desk.execute

                async def executed(id: CaseId, command: object, **options: object) -> object:
                    if isinstance(command, EraseContact):
                        return await execute(id, command, **options)  # type: ignore[arg-type]
                    return await cut_off()

                monkeypatch.setattr(a.desk, "execute", executed)
            await a.desk.execute(case, EraseContact(reason="本人要求"), actor=SYSTEM)

            async def was_tried() -> bool:
                return bool(tried)

            await eventually(was_tried)
        async with bus.hub("b") as b:

            async def finished() -> bool:
                return (await stream_state(b.bus, REACTIONS)).messages == 0

            await eventually(finished, within=60)
            assert await b.vault.open(case) is None
            assert await b.objects.get(PHOTO.record.sha256, of=case) is None
            assert (await stream_state(b.bus, FILES)).messages == 0
            events = [event for _, commit in await b.ledger.commits(case) for event in commit.events]
            assert len([event for event in events if isinstance(event, ContactErased)]) == 1
            destroyed = [event for event in events if isinstance(event, ContactDestroyed)]
            assert [event.files for event in destroyed] == [(PHOTO.record.sha256,)]


async def test_between_the_erasure_and_the_next_hub_the_contact_is_read_no_more(tmp_path: Path) -> None:
    async with one_bus(tmp_path) as bus:
        async with bus.hub("a", stages=False) as a:
            entry = Entry(
                channel=Channel.RESIDENT, title="路灯不亮", text="路灯不亮", area=GRID, reported_at=utc_now(), contact=SOMEBODY
            )
            case = (await a.intake.report(entry, actor=SYSTEM)).state.id
            await a.desk.execute(case, EraseContact(reason="本人要求"), actor=SYSTEM)
            assert await a.vault.open(case) == SOMEBODY, "nothing has destroyed it yet"
            with pytest.raises(TransitionRefused, match="there is no contact"):
                await a.desk.execute(case, AccessContact(by="x", purpose="回访", fields=("phone",)), actor=SYSTEM)
        async with bus.hub("b") as b:

            async def destroyed() -> bool:
                commits = await b.ledger.commits(case)
                return any(isinstance(event, ContactDestroyed) for _, commit in commits for event in commit.events)

            await eventually(destroyed, within=60)
            assert await b.vault.open(case) is None
            for name in ("PERSONAL", "VAULT_KEYS"):
                assert await (await Bucket.open(b.bus, name)).entries() == {}
