"""The vault over real buckets: what erasing leaves on the server."""

from __future__ import annotations

import asyncio

from hub.bus import Bucket, Bus
from hub.contract import Contact
from hub.model.case.state import parse_case_id
from hub.privacy.vault import Vault

CASE = parse_case_id("320113001001001-0123456789")
CONTACT = Contact(name="张三", phone="13812341234", address="尧化街道尧佳路8号")


async def test_a_contact_lives_in_real_buckets_until_its_key_is_destroyed(bus: Bus) -> None:
    personal, keys = await Bucket.open(bus, "PERSONAL"), await Bucket.open(bus, "VAULT_KEYS")
    vault = Vault(personal, keys)
    assert await vault.store(CASE, CONTACT) == ("name", "phone", "address")
    assert await Vault(personal, keys).open(CASE) == CONTACT
    kept = await keys.get(CASE)
    assert kept is not None

    await vault.erase(CASE)
    assert await vault.open(CASE) is None
    assert await keys.get(CASE) is None
    left = await bus.all_of("KV_VAULT_KEYS", f"$KV.VAULT_KEYS.{CASE}")
    assert kept.value not in [message.data for message in left]


async def test_a_contact_can_be_stored_anew_after_an_erasure_under_another_key(bus: Bus) -> None:
    personal, keys = await Bucket.open(bus, "PERSONAL"), await Bucket.open(bus, "VAULT_KEYS")
    vault = Vault(personal, keys)
    await vault.store(CASE, CONTACT)
    first = await keys.get(CASE)
    await vault.erase(CASE)
    await vault.store(CASE, CONTACT)
    second = await keys.get(CASE)
    assert first is not None
    assert second is not None
    assert first.value != second.value
    assert await vault.open(CASE) == CONTACT


async def test_two_hubs_that_store_at_once_agree_on_one_key(bus: Bus) -> None:
    personal, keys = await Bucket.open(bus, "PERSONAL"), await Bucket.open(bus, "VAULT_KEYS")
    await asyncio.gather(*(Vault(personal, keys).store(CASE, CONTACT) for _ in range(8)))
    assert await Vault(personal, keys).open(CASE) == CONTACT
