"""The stored form of a commit: JSON bytes with registered, versioned event names. Bytes in, commits out, and their hashes.

An event's stored name is its tag; its version `v` is stored when above 1. Old versions are upcast on read, step by step; an event
this hub does not know is refused, never skipped. Called by the ledger, linkage and the projector for every commit: keep it fast.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, get_args

import msgspec

from hub.errors import LedgerDamaged
from hub.model.commands import AnyCommand
from hub.model.events import AnyEvent, Commit, Event

Upcaster = Callable[[dict[str, Any]], dict[str, Any]]
"""Turns the stored form of one version into that of the next; gets and gives the event's JSON object without `v`."""

EVENTS: Mapping[str, type[Event]] = {str(kind.__struct_config__.tag): kind for kind in get_args(AnyEvent)}
"""Every registered event name and what it is read as."""

VERSIONS: Mapping[str, int] = {}
"""Present version of the events that have changed since their first; all others are at 1."""

UPCASTERS: Mapping[tuple[str, int], Upcaster] = {}
"""(name, version) → how that version becomes the next one. A test holds it complete for VERSIONS."""

COMMIT_VERSION = 1


class Codec:
    """Reads and writes commits for one registry of versions."""

    def __init__(self, versions: Mapping[str, int], upcasters: Mapping[tuple[str, int], Upcaster]) -> None:
        """Raises ValueError when a version has no way up to the present one, or an event is not registered."""
        for name, present in versions.items():
            if name not in EVENTS:
                raise ValueError(f"not a registered event: {name}")
            for version in range(1, present):
                if (name, version) not in upcasters:
                    raise ValueError(f"no upcaster for {name} version {version}")
        self._versions = {name: present for name, present in versions.items() if present > 1}
        self._changed = {EVENTS[name]: present for name, present in self._versions.items()}
        self._marks = tuple(f'"type":"{name}"'.encode() for name in self._versions)
        self._upcasters = dict(upcasters)
        self._encoder = msgspec.json.Encoder()
        self._decoder = msgspec.json.Decoder(Commit)

    def encode(self, commit: Commit) -> bytes:
        """The stored form of a commit."""
        if self._changed and any(type(event) in self._changed for event in commit.events):
            values = msgspec.to_builtins(commit)
            for event in values["events"]:
                present = self._versions.get(event["type"], 1)
                if present > 1:
                    event["v"] = present
            return self._encoder.encode(values)
        return self._encoder.encode(commit)

    def decode(self, raw: bytes) -> Commit:
        """The commit in its present form. Raises LedgerDamaged for what is no commit, or one of a newer hub."""
        if b'"v":' in raw or any(mark in raw for mark in self._marks):
            raw = self._upcast(raw)
        try:
            return self._decoder.decode(raw)
        except msgspec.MsgspecError as problem:
            raise self._explained(raw, problem) from problem

    def _upcast(self, raw: bytes) -> bytes:
        values = self._values(raw)
        if values.get("v", 1) != COMMIT_VERSION:
            raise LedgerDamaged(
                f"{_name(values)} has form {values.get('v')}; this hub reads {COMMIT_VERSION}: a newer hub wrote it"
            )
        events = values.get("events")
        if isinstance(events, list):
            values["events"] = [self._upcast_event(event, values) if isinstance(event, dict) else event for event in events]
        return self._encoder.encode(values)

    def _upcast_event(self, event: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
        name = str(event.get("type"))
        version = event.pop("v", 1)
        present = self._versions.get(name, 1)
        if not isinstance(version, int) or not 1 <= version <= present:
            raise LedgerDamaged(
                f"{_name(values)} holds {name} version {version}; this hub reads up to {present}: a newer hub wrote it"
            )
        while version < present:
            event = self._upcasters[name, version](event)
            version += 1
        return event

    def _values(self, raw: bytes) -> dict[str, Any]:
        try:
            return msgspec.json.decode(raw, type=dict[str, Any])
        except msgspec.MsgspecError as problem:
            raise LedgerDamaged(f"a ledger message is not a commit: {problem}") from problem

    def _explained(self, raw: bytes, problem: msgspec.MsgspecError) -> LedgerDamaged:
        """Why a commit can't be read: an unknown event is named."""
        values = self._values(raw)
        events = values.get("events")
        for event in events if isinstance(events, list) else ():
            name = event.get("type") if isinstance(event, dict) else None
            if name not in EVENTS:
                return LedgerDamaged(
                    f"{_name(values)} holds an event this hub does not know: {name!r}; a newer hub wrote it", subject=str(name)
                )
        return LedgerDamaged(f"{_name(values)} can't be read: {problem}")


def _name(values: Mapping[str, Any]) -> str:
    return f"commit {values.get('number')} of case {values.get('case')}"


CODEC = Codec(VERSIONS, UPCASTERS)
encode = CODEC.encode
decode = CODEC.decode

_command_encoder = msgspec.json.Encoder()


def digest(raw: bytes) -> str:
    """SHA-256 of a commit's stored bytes, hex; what the next commit of the case carries."""
    return hashlib.sha256(raw).hexdigest()


def command_digest(command: AnyCommand) -> str:
    """What tells two commands under one key apart: the first 128 bits of the SHA-256 of its content, hex."""
    return hashlib.sha256(_command_encoder.encode(command)).hexdigest()[:32]


__all__ = ["COMMIT_VERSION", "EVENTS", "UPCASTERS", "VERSIONS", "Codec", "command_digest", "decode", "digest", "encode"]
