"""The stored form of commits: JSON bytes with registered, versioned event names. Bytes in, commits out, and their hashes.

An event's stored name is its tag. Its version `v` is stored when above 1. Old versions are upcast on read, step by step. An event this hub
does not know is refused, never skipped. The ledger calls it for every commit: keep it fast.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Generic, TypeVar, Union

import msgspec

from hub.errors import LedgerDamaged
from hub.model.aggregate import Aggregate, Aggregates, Command, Commit, Event, tag_of

S = TypeVar("S")
C = TypeVar("C", bound=Command)
E = TypeVar("E", bound=Event)

COMMIT_VERSION = 1


class Codec(Generic[S, C, E]):
    """Reads and writes the commits and commands of one kind of matter."""

    def __init__(self, aggregate: Aggregate[S, C, E]) -> None:
        """Raises ValueError when a version has no way up to the present one, or an event is not registered."""
        self._kind = aggregate.name
        versions, upcasters = aggregate.versions, aggregate.upcasters
        self.events: Mapping[str, type[E]] = {tag_of(kind): kind for kind in aggregate.events}
        for name, present in versions.items():
            if name not in self.events:
                raise ValueError(f"not a registered event: {name}")
            for version in range(1, present):
                if (name, version) not in upcasters:
                    raise ValueError(f"no upcaster for {name} version {version}")
        self._versions = {name: present for name, present in versions.items() if present > 1}
        self._changed = {self.events[name]: present for name, present in self._versions.items()}
        self._marks = tuple(f'"type":"{name}"'.encode() for name in self._versions)
        self._upcasters = dict(upcasters)
        self._encoder = msgspec.json.Encoder()
        events: Any = Union[aggregate.events]  # noqa: UP007 - a union made of a tuple
        self._decoder: msgspec.json.Decoder[Commit[E]] = msgspec.json.Decoder(Commit[events])
        self._commands: msgspec.json.Decoder[C] = msgspec.json.Decoder(Union[aggregate.commands])  # noqa: UP007

    def decode_command(self, raw: bytes) -> C:
        """A command from its JSON form; raises msgspec.MsgspecError."""
        return self._commands.decode(raw)

    def encode(self, commit: Commit[E]) -> bytes:
        """The stored form of a commit."""
        if self._changed and any(type(event) in self._changed for event in commit.events):
            values = msgspec.to_builtins(commit)
            for event in values["events"]:
                present = self._versions.get(event["type"], 1)
                if present > 1:
                    event["v"] = present
            return self._encoder.encode(values)
        return self._encoder.encode(commit)

    def decode(self, raw: bytes) -> Commit[E]:
        """The commit in its present form. Raises LedgerDamaged when the bytes are no commit, or one of a newer hub."""
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
        """The reason why a commit can't be read. Names an unknown event."""
        values = self._values(raw)
        if "aggregate" not in values and "case" in values:
            return LedgerDamaged(
                "an early hub wrote this store, in a form that is read no more: begin with an empty data directory"
            )
        events = values.get("events")
        for event in events if isinstance(events, list) else ():
            name = event.get("type") if isinstance(event, dict) else None
            if name not in self.events:
                return LedgerDamaged(
                    f"{_name(values)} holds an event this hub does not know: {name!r}; a newer hub wrote it", subject=str(name)
                )
        return LedgerDamaged(f"{_name(values)} can't be read: {problem}")


def _name(values: Mapping[str, Any]) -> str:
    return f"commit {values.get('number')} of {values.get('aggregate')} {values.get('id')}"


class Codecs:
    """The codecs of all kinds of matters a hub knows."""

    def __init__(self, aggregates: Aggregates) -> None:
        self._by_name = {kind.name: Codec(kind) for kind in aggregates}

    def of(self, name: str) -> Codec[Any, Any, Any]:
        """The codec of a kind. Raises LedgerDamaged for one this hub does not know: a newer hub wrote it."""
        found = self._by_name.get(name)
        if found is None:
            raise LedgerDamaged(f"the ledger holds a kind of matter this hub does not know: {name!r}; a newer hub wrote it")
        return found

    def decode(self, subject: str, raw: bytes) -> Commit[Any]:
        """The commit of a ledger message; its subject says which kind. Raises LedgerDamaged."""
        return self.of(subject.split(".", 2)[1]).decode(raw)


encode_command = msgspec.json.Encoder().encode


def digest(raw: bytes) -> str:
    """SHA-256 of a commit's stored bytes, hex. The matter's next commit carries it."""
    return hashlib.sha256(raw).hexdigest()


def command_digest(command: Command) -> str:
    """What tells two commands under one key apart: the first 128 bits of the SHA-256 of its content, hex."""
    return hashlib.sha256(encode_command(command)).hexdigest()[:32]


__all__ = ["COMMIT_VERSION", "Codec", "Codecs", "command_digest", "digest", "encode_command"]
