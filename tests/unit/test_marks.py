"""A reporter's own name, telephone and address stay hidden in every later text of the case, and nobody's else."""

from datetime import UTC, datetime
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from hub.contract import Contact
from hub.model.actors import SYSTEM
from hub.model.aggregate import Aggregates, MatterId
from hub.model.case import CASE as CASES
from hub.model.case.commands import Comment, EraseContact, Report
from hub.model.case.state import Case, Channel, Severity, parse_case_id
from hub.model.district.areas import AreaCode
from hub.privacy.marks import Marks, hide_known, key_of, known_here, marks_of, plain
from hub.privacy.masks import hider, known_of, mask_text
from hub.privacy.vault import Vault
from hub.spine.ledger.desk import Desk
from tests.logged import logged
from tests.unit.api_world import MemoryBucket, MemoryLedger, district

CASE = parse_case_id("320113001001001-0123456789abcdef")
OTHER = parse_case_id("320113001001001-0123456789abcdeg")
ZHANG = Contact(name="张建国", phone="13812341234", address="栖霞区尧化街道幸福家园3栋202室")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("已联系张建国本人", "已联系张**本人"),
        ("已联系张 建国", "已联系张**"),
        ("张\u200b建国不在家", "张**不在家"),
        ("１３８１２３４１２３４无人接听", "138****1234无人接听"),
        ("138-1234-1234 无人接听", "138****1234 无人接听"),
        ("电138.1234.1234话", "电138****1234话"),
        ("单号9138123412345未结", "单号9138123412345未结"),
        ("到栖霞区尧化街道幸福家园3栋202室查看", "到栖霞区尧化街道***查看"),
        (mask_text("到栖霞区尧化街道幸福家园3栋202室查看"), "到栖霞区尧化街道***查看"),
        ("张建军与建国路无关", "张建军与建国路无关"),
        ("", ""),
    ],
)
def test_what_is_known_is_hidden_however_it_is_written(text: str, shown: str) -> None:
    assert hider(ZHANG)(text) == shown


def test_contact_of_a_form_is_taken_apart() -> None:
    """Open311 has one field for telephone and e-mail, and one for address, account and device."""
    hide = hider(Contact(phone="+86 138 1234 1234 / zhang.jg@example.cn", address="尧佳路8号，账号 zjg1975"))
    assert hide("回电13812341234、8613812341234或ZHANG.JG@example.cn") == "回电138****1234、138****1234或z***@example.cn"
    assert "zjg1975" not in hide("账号 zjg1975 重复上报")


@given(st.text(max_size=80), st.text(max_size=30), st.text(max_size=30), st.text(max_size=60))
def test_hiding_any_contact_in_any_text_twice_changes_nothing_more(text: str, name: str, phone: str, address: str) -> None:
    hide = hider(Contact(name=name, phone=phone, address=address))
    assert hide("") == ""
    assert isinstance(hide(text + name + phone + address), str)


def test_marks_hold_nothing_readable_and_are_worth_nothing_under_another_key() -> None:
    marks = marks_of(known_of(ZHANG), key_of(b"k" * 32))
    assert "建国" not in repr(marks)
    assert "12341" not in repr(marks)
    assert Marks(key_of(b"o" * 32), marks).hide("张建国") == "张建国"
    assert Marks(key_of(b"k" * 32), marks).hide("张建国") == "张**"


def test_what_no_store_takes_becomes_a_question_mark() -> None:
    assert plain("张\ud83d\x00三") == "张??三"
    assert plain("😀") == "😀"


async def case_with(vault: Vault, desk: Desk[Case, Any, Any], id: str = CASE, contact: Contact = ZHANG) -> None:
    fields = await vault.store(parse_case_id(id), contact)
    await desk.execute(
        parse_case_id(id),
        Report(
            channel=Channel.RESIDENT,
            title="漏水",
            text="漏水",
            area=AreaCode("320113001001001"),
            reported_at=datetime.now(UTC),
            severity=Severity.ORDINARY,
            contact_fields=fields,
        ),
        actor=SYSTEM,
    )


class Buckets:
    """The vault's buckets, which count what is read."""

    def __init__(self) -> None:
        self.personal, self.keys = MemoryBucket(), MemoryBucket()
        self.ledger = MemoryLedger(Aggregates(CASES))

    def vault(self) -> Vault:
        return Vault(self.personal, self.keys)  # type: ignore[arg-type]

    def desk(self, vault: Vault) -> Desk[Case, Any, Any]:
        return Desk(CASES, self.ledger, lambda: district().policy.rules, hiding=vault.hiding)

    def texts(self) -> str:
        return repr(self.ledger.all())


@pytest.fixture
def store() -> Buckets:
    return Buckets()


async def test_desk_masks_the_reporter_in_whatever_anybody_writes_later(store: Buckets) -> None:
    vault = store.vault()
    desk = store.desk(vault)
    await case_with(vault, desk)
    await desk.execute(CASE, Comment(text="张建国（13812341234）催办"), actor=SYSTEM)
    # another process, which has never seen the contact: nothing is opened, no access recorded
    fresh = store.vault()
    await store.desk(fresh).execute(CASE, Comment(text="张建国再次来电"), actor=SYSTEM)
    assert "张建国" not in store.texts()
    assert "再次来电" in store.texts()
    assert "access" not in store.texts()


async def test_case_without_a_contact_reads_no_vault(store: Buckets) -> None:
    vault = store.vault()
    desk = store.desk(vault)
    await case_with(vault, desk, contact=Contact())
    store.personal.get = store.keys.get = None  # type: ignore[assignment,method-assign]
    await desk.execute(CASE, Comment(text="张建国催办"), actor=SYSTEM)
    assert "张建国" in store.texts()


async def test_erasing_destroys_the_marks_too(store: Buckets) -> None:
    vault = store.vault()
    desk = store.desk(vault)
    await case_with(vault, desk)
    await vault.erase(CASE)
    assert list(await store.personal.entries()) == []
    assert list(await store.keys.entries()) == []
    await desk.execute(CASE, EraseContact(reason="要求删除"), actor=SYSTEM)
    erased = await desk.load(CASE)
    assert erased is not None
    assert erased.state.contact_erased


async def test_marks_moved_to_another_case_or_changed_are_nobody(store: Buckets) -> None:
    vault = store.vault()
    await case_with(vault, store.desk(vault))
    key, marks = await store.keys.get(CASE), await store.personal.get(f"marks.{CASE}")
    assert key is not None
    assert marks is not None
    await store.keys.put(OTHER, key.value)
    await store.personal.put(f"marks.{OTHER}", marks.value)
    assert await store.vault().hiding((MatterId(OTHER),)) is None


def test_log_hides_who_is_in_hand_also_behind_a_task() -> None:
    with logged() as out:
        with known_here(hider(ZHANG)):
            structlog.get_logger("hub.adapter").info("sent", body={"who": "张建国"}, error="KeyError: 张建国")
            assert hide_known("张建国") == "张**"
        assert hide_known("张建国") == "张建国"
    assert "张建国" not in out.getvalue()
    assert "张**" in out.getvalue()
