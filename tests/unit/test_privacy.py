"""Masks over realistic texts, and the vault over in-memory buckets."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.contract import Contact
from hub.errors import InvalidInput
from hub.model.case.state import parse_case_id
from hub.privacy.masks import mask_address, mask_contact, mask_name, mask_phone, mask_text
from hub.privacy.vault import ContactUnreadable, Vault
from hub.testing.memory import MemoryBucket

CASE = parse_case_id("320113001001001-0123456789")
OTHER = parse_case_id("320113001001001-9876543210")


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("请回电13812345678谢谢", "请回电138****5678谢谢"),
        ("手机号138 1234 5678，尽快", "手机号138****5678，尽快"),
        ("手机：138-1234-5678", "手机：138****5678"),
        ("+86 13812345678", "+86 138****5678"),
        ("１３８１２３４５６７８是我的号码", "１３８****５６７８是我的号码"),
        ("13812345678、13987654321均可联系", "138****5678、139****4321均可联系"),
        ("物业电话025-85561234一直没人接", "物业电话025-****1234一直没人接"),
        ("物业(025)85561234", "物业(025)****1234"),
        ("座机85561234", "座机****1234"),
        ("联系电话：02585561234", "联系电话：025****1234"),
        ("身份证320113199003074514，请核实", "身份证320113************，请核实"),
        ("身份证号码：320113900307123", "身份证号码：320113*********"),
        ("本人11010519491231002X", "本人110105************"),
        ("我叫张建国，住三楼", "我叫张**，住三楼"),
        ("联系人：欧阳小明 13812345678", "联系人：欧阳** 138****5678"),
        ("联系人李娜电话13812345678", "联系人李**电话138****5678"),
        ("举报人王芳（女）", "举报人王**（女）"),
        ("残疾人姓名: 彭乔松", "残疾人姓名: 彭**"),
        ("尧林仙居3栋2单元501室漏水", "尧林仙居3栋2单元***室漏水"),
        ("翠林山庄12栋1203楼道灯坏了", "翠林山庄12栋***楼道灯坏了"),
        ("5号楼1702业主违规搭建", "5号楼***业主违规搭建"),
        ("家庭住址：栖霞区尧化街道尧佳路8号3栋501，晚上在家", "家庭住址：栖霞区尧化街道***，晚上在家"),
        ("发到zhang.san@example.com", "发到z***@example.com"),
        ("卡号6222 0212 3456 7890 123", "卡号****0123"),
    ],
)
def test_what_is_personal_is_masked(text: str, masked: str) -> None:
    assert mask_text(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        "工单号13812345678未办结",
        "工单编号：20191127000012345678",
        "订单编号13912345678，合同编号025-85561234",
        "案件320113001001001-0f3k9m2p7q已派发",
        "GD13812345678与WX-2019-13812345678重复",
        "总价13800000000元",
        "面积888033.78平方米，房款1551684元，预算13812345678.50",
        "请拨打12345或110，燃气抢修96777，客服400-820-8820",
        "2019-11-27 08:30受理，12月10日截止",
        "区划代码320113001，网格320113001001001",
        "顺宇（002289）晚间公告",
        "邮编210046，距离1500米，300户居民，共1203人",
        "我是高新区，业主张先生反映楼下噪音",
        "联系人员要求业主代表到场，当事人数众多",
        "2号楼2019年交付，3栋300户没有供水，1号楼100多人",
        "12栋东侧路灯不亮，2单元门禁坏了，地下室内积水",
        "尧佳路12号门前井盖缺失",
        "编号320113199003074513的设施损坏",
        "1楼105号商铺占道经营，3栋105m2户型，楼盘地址：枫林路汽车西站旁",
        "本人平台余额125156.12元",
        "",
    ],
)
def test_what_staff_work_with_stays_readable(text: str) -> None:
    assert mask_text(text) == text


def test_text_without_the_right_check_digit_is_not_taken_for_an_identity_number() -> None:
    assert mask_text("流水320113199003074513") == "流水320113199003074513"


@pytest.mark.parametrize(
    ("phone", "masked"),
    [
        ("13812341234", "138****1234"),
        ("+86 138-1234-1234", "138****1234"),
        ("025-85561234", "025-****1234"),
        ("010 65561234", "010-****1234"),
        ("0513-8556123", "0513-****6123"),
        ("12345", "****45"),
        ("138****1234", "138****1234"),
        ("", ""),
    ],
)
def test_phones_are_masked(phone: str, masked: str) -> None:
    assert mask_phone(phone) == masked


@pytest.mark.parametrize(
    ("name", "masked"), [("张三", "张**"), ("欧阳娜娜", "欧阳**"), ("John", "J**"), ("张**", "张**"), (" ", "")]
)
def test_names_are_masked(name: str, masked: str) -> None:
    assert mask_name(name) == masked


@pytest.mark.parametrize(
    ("address", "masked"),
    [
        ("南京市栖霞区尧化街道尧佳路8号3栋501室", "南京市栖霞区尧化街道***"),
        ("栖霞区文苑路118号5栋", "栖霞区文苑路***"),
        ("栖霞区仙林某小区", "栖霞区***"),
        ("3栋501", "***"),
        ("尧化街道", "尧化街道"),
        ("", ""),
    ],
)
def test_addresses_are_kept_to_street_level(address: str, masked: str) -> None:
    assert mask_address(address) == masked


def test_a_whole_contact_is_masked() -> None:
    contact = Contact(name="张三", phone="13812341234", address="尧化街道尧佳路8号")
    assert mask_contact(contact) == Contact(name="张**", phone="138****1234", address="尧化街道***")
    assert mask_contact(Contact()) == Contact()


pieces = st.lists(
    st.sampled_from(
        ["我叫张三", "联系人：李四", "电话", "13812345678", "025-85561234", "，", " ", "3栋", "2单元", "501室", "身份证", "工单号",
         "320113199003074514", "家庭住址：", "尧化街道", "尧佳路8号", "元", "85561234", "a@b.cn", "卡号", "6222021234567890123", "。", "-"]
    ),
    max_size=8,
)  # fmt: skip


@given(pieces)
def test_masking_twice_changes_nothing_more(parts: list[str]) -> None:
    once = mask_text("".join(parts))
    assert mask_text(once) == once


@given(st.text(max_size=200))
def test_any_text_can_be_masked(text: str) -> None:
    mask_text(text)


@given(
    st.from_regex(r"1[3-9][0-9]{9}", fullmatch=True),
    st.text(alphabet="路灯坏了请尽快处理噪音扰民，。！ ", max_size=20),
    st.text(alphabet="路灯坏了请尽快处理噪音扰民，。！ ", max_size=20),
)
def test_no_mobile_number_survives_in_a_sentence(phone: str, before: str, after: str) -> None:
    assert phone not in mask_text(before + phone + after)


FULL = Contact(name="张三", phone="13812341234", address="尧化街道尧佳路8号3栋501室")


@pytest.fixture
def personal() -> MemoryBucket:
    return MemoryBucket()


@pytest.fixture
def keys() -> MemoryBucket:
    return MemoryBucket()


@pytest.fixture
def vault(personal: MemoryBucket, keys: MemoryBucket) -> Vault:
    return Vault(personal, keys)


async def held(bucket: MemoryBucket) -> bytes:
    """What a bucket has under the case."""
    found = await bucket.get(CASE)
    assert found is not None
    return found.value


async def test_a_contact_comes_back_as_it_was_stored(vault: Vault) -> None:
    assert await vault.store(CASE, FULL) == ("name", "phone", "address")
    assert await vault.open(CASE) == FULL
    assert await vault.open(OTHER) is None


async def test_only_fields_that_are_set_are_named(vault: Vault, personal: MemoryBucket) -> None:
    assert await vault.store(CASE, Contact(phone="13812341234")) == ("phone",)
    assert await vault.store(OTHER, Contact(name="")) == ()
    assert list(await personal.entries()) == [f"marks.{CASE}", CASE]


async def test_nothing_readable_lies_in_the_buckets(vault: Vault, personal: MemoryBucket, keys: MemoryBucket) -> None:
    await vault.store(CASE, FULL)
    stored = b"".join([entry.value for bucket in (personal, keys) for entry in (await bucket.entries()).values()])
    assert b"13812341234" not in stored
    assert "张三".encode() not in stored


async def test_storing_again_replaces_under_the_same_key_with_a_fresh_nonce(
    vault: Vault, personal: MemoryBucket, keys: MemoryBucket
) -> None:
    await vault.store(CASE, FULL)
    first, key = await held(personal), await held(keys)
    await vault.store(CASE, FULL)
    assert await held(personal) != first
    assert await held(keys) == key


async def test_erasing_destroys_the_key_so_a_backup_of_the_ciphertext_is_worthless(
    vault: Vault, personal: MemoryBucket, keys: MemoryBucket
) -> None:
    await vault.store(CASE, FULL)
    backup = await held(personal)
    await vault.erase(CASE)
    assert await keys.entries() == {}
    await personal.put(CASE, backup)
    assert await vault.open(CASE) is None
    await vault.store(CASE, FULL)
    await personal.put(CASE, backup)
    with pytest.raises(ContactUnreadable):
        await vault.open(CASE)


async def test_erasing_what_is_not_there_is_no_error(vault: Vault) -> None:
    await vault.erase(CASE)


async def test_a_ciphertext_moved_to_another_case_is_refused_even_with_its_key(
    vault: Vault, personal: MemoryBucket, keys: MemoryBucket
) -> None:
    await vault.store(CASE, FULL)
    await personal.put(OTHER, await held(personal))
    await keys.put(OTHER, await held(keys))
    with pytest.raises(ContactUnreadable):
        await vault.open(OTHER)


@pytest.mark.parametrize("at", [0, 1, 20, -1])
async def test_one_changed_byte_is_noticed(vault: Vault, personal: MemoryBucket, at: int) -> None:
    await vault.store(CASE, FULL)
    changed = bytearray(await held(personal))
    changed[at] ^= 1
    await personal.put(CASE, bytes(changed))
    with pytest.raises(ContactUnreadable) as refused:
        await vault.open(CASE)
    assert "138" not in str(refused.value)


async def test_two_at_once_agree_on_one_key(vault: Vault) -> None:
    await asyncio.gather(*(vault.store(CASE, FULL) for _ in range(5)))
    assert await vault.open(CASE) == FULL


async def test_a_field_that_is_too_long_is_refused_by_name(vault: Vault) -> None:
    with pytest.raises(InvalidInput) as refused:
        await vault.store(CASE, Contact(address="x" * 501))
    assert refused.value.subject == "contact.address"


@given(st.builds(Contact, name=st.text(max_size=50) | st.none(), phone=st.text(max_size=20) | st.none()))
async def test_any_contact_survives_the_vault(contact: Contact) -> None:
    vault = Vault(MemoryBucket(), MemoryBucket())
    await vault.store(CASE, contact)
    assert (await vault.open(CASE) or Contact()) == Contact(name=contact.name or None, phone=contact.phone or None)
