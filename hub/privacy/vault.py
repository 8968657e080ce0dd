"""The vault: a reporter's contact, encrypted, in two buckets: ciphertexts in one, one key per matter in the other.

Destroying a key erases the person, in every copy of the ciphertext too. Refuses a contact whose ciphertext was changed or moved to another
matter. Called by intake (store), dispatch and the API (open, after `AccessContact` is committed), the desk (hiding).

Beside the ciphertext lie the contact's marks (`hub.privacy.marks`). With them the desk masks name, telephone and address in every later
text of the matter, whoever wrote it, and opens no contact. Marks are cached. Without the key they are worth nothing.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, Protocol

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from hub.contract import Contact
from hub.errors import BusUnavailable, HubError, InvalidInput
from hub.privacy.marks import Mark, Marks, key_of, marks_of
from hub.privacy.masks import FIELDS, known_of

if TYPE_CHECKING:
    from hub.model.aggregate import MatterId


class BucketEntry(Protocol):
    """A stored value."""

    @property
    def value(self) -> bytes:
        """The bytes stored."""


class Bucket(Protocol):
    """The part of `hub.bus.Bucket` the vault uses."""

    async def get(self, key: str) -> BucketEntry | None:
        """The value, or None."""

    async def put(self, key: str, value: bytes) -> int:
        """Store; durable when it returns."""

    async def create(self, key: str, value: bytes) -> int:
        """Store if absent; raises KeyExists."""

    async def purge(self, key: str) -> None:
        """Remove with all earlier revisions."""


class ContactUnreadable(HubError):
    """A stored contact does not decrypt under its case's key: it was changed, or moved from another case."""

    code = "contact_unreadable"


_FORMAT: Final = b"\x01"
_NONCE_BYTES: Final = 12
_MARKS: Final = "marks."
"""Before the case's id: where its marks lie in the bucket of the ciphertexts."""
_MOST_KNOWN: Final = 20_000


class Vault:
    """Contacts, encrypted with AES-256-GCM under one key per case; the case id is bound in as associated data."""

    def __init__(self, personal: Bucket, keys: Bucket) -> None:
        self._personal = personal
        self._keys = keys
        self._known: OrderedDict[str, Marks] = OrderedDict()

    async def store(self, case: MatterId, contact: Contact) -> tuple[str, ...]:
        """Keep a contact (in place of an earlier one) and name the fields that are set; nothing set stores nothing.

        Raises InvalidInput for a field over 500 characters, BusUnavailable.
        """
        fields: dict[str, str] = {name: value for name in FIELDS if (value := getattr(contact, name))}
        for name, value in fields.items():
            if len(value) > 500:
                raise InvalidInput("at most 500 characters", subject=f"contact.{name}")
        if not fields:
            return ()
        key = await self._key(case)
        await self._mark(case, contact, key)
        await self._personal.put(case, _sealed(msgspec.json.encode(fields), key, _bound(case)))
        return tuple(fields)

    async def open(self, case: MatterId) -> Contact | None:
        """The contact; None when there is none or it was erased. Commit `AccessContact` first.

        Raises ContactUnreadable, BusUnavailable.
        """
        stored = await self._personal.get(case)
        key = await self._keys.get(case)
        if stored is None or key is None:
            return None
        plain = _opened(stored.value, key.value, _bound(case), case)
        return Contact(**msgspec.json.decode(plain, type=dict[str, str]))

    async def erase(self, case: MatterId) -> None:
        """Destroy the key first (that alone erases the person, in backups of the ciphertext too), then ciphertext and marks."""
        await self._keys.purge(case)
        await self._personal.purge(case)
        await self._personal.purge(f"{_MARKS}{case}")
        self._known.pop(case, None)

    async def hiding(self, matters: Sequence[MatterId]) -> Callable[[str], str] | None:
        """A function that masks the known reporters of these matters. None when nobody is known.

        Opens no contact, so it records no access; it runs for every command. Raises BusUnavailable: better no text than a name in the
        ledger.
        """
        known = [marks for id in matters if (marks := await self._marks(id))]
        if not known:
            return None

        def hide(text: str) -> str:
            for marks in known:
                text = marks.hide(text)
            return text

        return hide

    async def _marks(self, case: MatterId) -> Marks:
        """A case's marks, read once."""
        found = self._known.get(case)
        if found is not None:
            self._known.move_to_end(case)
            return found
        key = await self._keys.get(case)
        if key is None:
            return self._keep(case, Marks(b"", ()))
        stored = await self._personal.get(f"{_MARKS}{case}")
        if stored is None:
            return self._keep(case, Marks(b"", ()))
        try:
            plain = _opened(stored.value, key.value, _bound(f"{_MARKS}{case}"), case)
        except ContactUnreadable:
            return self._keep(case, Marks(b"", ()))  # said to whoever opens the contact; the case itself has to go on
        return self._keep(case, Marks(key_of(key.value), msgspec.msgpack.decode(plain, type=tuple[Mark, ...])))

    async def _mark(self, case: MatterId, contact: Contact, key: bytes) -> Marks:
        secret = key_of(key)
        marks = marks_of(known_of(contact), secret)
        sealed = _sealed(msgspec.msgpack.encode(marks), key, _bound(f"{_MARKS}{case}"))
        await self._personal.put(f"{_MARKS}{case}", sealed)
        return self._keep(case, Marks(secret, marks))

    def _keep(self, case: MatterId, marks: Marks) -> Marks:
        self._known[case] = marks
        self._known.move_to_end(case)
        while len(self._known) > _MOST_KNOWN:
            self._known.popitem(last=False)
        return marks

    async def _key(self, case: MatterId) -> bytes:
        """The case's key, made if there is none; two at once agree on one."""
        from hub.bus import KeyExists  # not at the top: the masks are used where no bus is

        for _ in range(3):
            found = await self._keys.get(case)
            if found is not None:
                return found.value
            fresh = AESGCM.generate_key(bit_length=256)
            try:
                await self._keys.create(case, fresh)
            except KeyExists:
                continue
            return fresh
        raise BusUnavailable("the key of the case changes too often", subject=case)


def _bound(case: str) -> bytes:
    return b"hub contact 1 " + case.encode()


def _sealed(plain: bytes, key: bytes, bound: bytes) -> bytes:
    nonce = os.urandom(_NONCE_BYTES)
    return _FORMAT + nonce + AESGCM(key).encrypt(nonce, plain, bound)


def _opened(sealed: bytes, key: bytes, bound: bytes, case: str) -> bytes:
    """Raises ContactUnreadable."""
    if sealed[:1] != _FORMAT:
        raise ContactUnreadable("the contact is in a form this version can't read", subject=case)
    try:
        return AESGCM(key).decrypt(sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :], bound)
    except (InvalidTag, ValueError) as error:
        raise ContactUnreadable("the contact does not decrypt under its case's key", subject=case) from error
