"""Secrets of instances: sealed with AES-GCM under the hub's key, in a bucket of their own. The ledger holds only references.

A reference is `{"$secret": id}`. Nothing here is ever shown. An opened secret goes into a plugin's settings model and nowhere else. All
hubs of a bus share one key: the first leaves a proof of it, and a hub with another key is refused. Called by the registry.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import BaseModel, SecretBytes, SecretStr

from hub.bus.buckets import KeyExists
from hub.errors import ConfigError, PluginError

REFERENCE = "$secret"
SHOWN = "***"
"""Stands for a secret wherever settings are shown."""


class Entry(Protocol):
    """A value in a bucket."""

    @property
    def value(self) -> bytes:
        """The bytes stored."""


class SecretBucket(Protocol):
    """The part of `hub.bus.Bucket` that is used."""

    async def get(self, key: str) -> Entry | None:
        """The value, or None."""

    async def create(self, key: str, value: bytes) -> int:
        """Store a new one; raises KeyExists."""

    async def purge(self, key: str) -> None:
        """Remove for good."""

    async def entries(self, pattern: str = ">") -> Mapping[str, Entry]:
        """Every value whose key fits."""


PROOF = "proof-of-key"
"""Where the proof of the bus's key lies, beside the secrets."""
_SETTING = "secrets_key"
_LOST = "If nobody has that key any more: `hub secrets forget` (docs/devops.md, 'Secrets of adapters')."


def load_key(file: Path, given: str | None) -> bytes | None:
    """The hub's key: `given` (base64 of 32 bytes, from the settings), else the file's; None: there is none yet. Raises ConfigError."""
    if not given and not file.exists():
        return None
    try:
        key = base64.b64decode(given or file.read_bytes(), validate=True)
    except (ValueError, binascii.Error) as problem:
        raise ConfigError(f"{'HUB_SECRETS_KEY' if given else file} is not base64", key=_SETTING) from problem
    if len(key) != 32:
        raise ConfigError(f"{'HUB_SECRETS_KEY' if given else file} is not 32 bytes, base64", key=_SETTING)
    return key


def make_key(file: Path) -> bytes:
    """A new key, kept in the file."""
    key = secrets.token_bytes(32)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as handle:
        handle.write(base64.b64encode(key))
    return key


class Sealing:
    """Seals and opens."""

    def __init__(self, bucket: SecretBucket, key: bytes) -> None:
        self._bucket = bucket
        self._cipher = AESGCM(key)
        self._proof = hmac.digest(key, b"hub secrets 1", hashlib.sha256)

    @classmethod
    async def start(cls, bucket: SecretBucket, file: Path, given: str | None, *, check: bool = True) -> Sealing:
        """With the hub's key, made and kept in the file when the bus has none yet.

        Raises ConfigError when the bus's secrets are sealed with another key (not without `check`), BusUnavailable.
        """
        key = await asyncio.to_thread(load_key, file, given)
        known = await bucket.get(PROOF) if check else None
        if key is None:
            if known is not None:
                raise ConfigError(
                    "this hub has no key, and the bus's secrets are sealed with one: set HUB_SECRETS_KEY to the key of the"
                    f" bus's other hubs (`secrets.key` in the first one's data directory). {_LOST}",
                    key=_SETTING,
                )
            key = await asyncio.to_thread(make_key, file)
        sealing = cls(bucket, key)
        if check and known is None:
            try:
                await bucket.create(PROOF, sealing._proof)
            except KeyExists:
                known = await bucket.get(PROOF)
        if known is not None and not hmac.compare_digest(known.value, sealing._proof):
            raise ConfigError(
                "the bus's secrets are sealed with another key than this hub's: give all hubs of a bus the same"
                f" HUB_SECRETS_KEY (`secrets.key` in the first one's data directory). {_LOST}",
                key=_SETTING,
            )
        return sealing

    async def forget_all(self) -> int:
        """Remove every secret and the proof of the key they were sealed with; how many secrets."""
        found = await self._bucket.entries()
        for key in sorted(found, key=PROOF.__eq__):  # the proof last: it stands while there is something under it
            await self._bucket.purge(key)
        return len(found) - (PROOF in found)

    async def seal(self, instance: str, settings: Mapping[str, Any], model: BaseModel | None) -> dict[str, Any]:
        """The settings with a reference in place of every value that `model` (the same settings, validated) calls a secret."""
        sealed = await self._walk(instance, dict(settings), model)
        assert isinstance(sealed, dict)
        return sealed

    async def open(self, instance: str, settings: Mapping[str, Any]) -> dict[str, Any]:
        """The settings with every reference replaced by its secret; raises PluginError when one can't be opened."""
        opened = await self._opened(instance, dict(settings))
        assert isinstance(opened, dict)
        return opened

    async def forget(self, settings: Mapping[str, Any]) -> None:
        """Remove the secrets that settings refer to."""
        for reference in references(settings):
            await self._bucket.purge(reference)

    async def _walk(self, instance: str, raw: Any, model: Any) -> Any:
        if isinstance(model, SecretStr | SecretBytes):
            if is_reference(raw):
                return raw
            reference = secrets.token_hex(16)
            text = raw if isinstance(raw, str) else str(raw)
            nonce = secrets.token_bytes(12)
            sealed = self._cipher.encrypt(nonce, text.encode(), f"{instance}\n{reference}".encode())
            await self._bucket.create(reference, nonce + sealed)
            return {REFERENCE: reference}
        if isinstance(raw, Mapping):
            return {key: await self._walk(instance, value, _part(model, key)) for key, value in raw.items()}
        if isinstance(raw, list | tuple):
            return [await self._walk(instance, value, _part(model, index)) for index, value in enumerate(raw)]
        return str(raw) if isinstance(raw, str) else raw

    async def _opened(self, instance: str, value: Any) -> Any:
        if is_reference(value):
            reference = value[REFERENCE]
            entry = await self._bucket.get(reference)
            if entry is None or len(entry.value) < 13:
                raise PluginError(f"{instance}: a secret is gone: set it again", subject=instance)
            try:
                text = self._cipher.decrypt(entry.value[:12], entry.value[12:], f"{instance}\n{reference}".encode())
            except InvalidTag as problem:
                raise PluginError(
                    f"{instance}: a secret was sealed with another key: set it again", subject=instance
                ) from problem
            return text.decode()
        if isinstance(value, Mapping):
            return {key: await self._opened(instance, inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [await self._opened(instance, inner) for inner in value]
        return value


def is_reference(value: object) -> bool:
    """Whether a value stands for a sealed secret."""
    return isinstance(value, Mapping) and set(value) == {REFERENCE} and isinstance(value[REFERENCE], str)


def references(value: object) -> list[str]:
    """Every reference in some settings."""
    if isinstance(value, Mapping):
        if is_reference(value):
            return [value[REFERENCE]]
        return [found for inner in value.values() for found in references(inner)]
    if isinstance(value, list | tuple):
        return [found for inner in value for found in references(inner)]
    return []


def shown(value: Any, model: Any = None) -> Any:
    """Settings for display: secrets, references and values of a secret's type as `***`."""
    if is_reference(value) or isinstance(model, SecretStr | SecretBytes):
        return SHOWN
    if isinstance(value, Mapping):
        return {str(key): shown(inner, _part(model, key)) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [shown(inner, _part(model, index)) for index, inner in enumerate(value)]
    return str(value) if isinstance(value, str) else value


def _part(model: Any, key: Any) -> Any:
    """The part of a validated model that a raw key or index stands for."""
    if isinstance(model, BaseModel):
        if isinstance(key, str) and key in type(model).model_fields:
            return getattr(model, key)
        for name, field in type(model).model_fields.items():
            if key in (field.alias, field.validation_alias):
                return getattr(model, name)
        return None
    if isinstance(model, Mapping):
        return model.get(key)
    if isinstance(model, list | tuple) and isinstance(key, int) and key < len(model):
        return model[key]
    return None
