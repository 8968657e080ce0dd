"""The common core of every kind of matter: the aggregate, its commits, and its state in an envelope. Pure.

An `Aggregate` is one kind of matter (a case, a directive): its commands and events, and the pure functions that decide and evolve. Ledger,
desk, linkage, timers, views, routes and the command line know aggregates and their envelopes, never a kind by name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any, ClassVar, Generic, NewType, Protocol, TypeVar

import msgspec

from hub.errors import LedgerDamaged
from hub.model.actors import Actor
from hub.model.effects import Effect, React
from hub.model.forms import Form
from hub.model.grown import Grown
from hub.model.records import Source
from hub.model.texts import check

MatterId = NewType("MatterId", str)
"""The number of a matter: `<15-digit area where it arose>-<suffix>`, or `<area>-<mark>-<suffix>` for kinds that have a mark."""

SUFFIX_PATTERN = "[0-9a-hjkmnp-tv-z]{10,26}"
"""A unique lower-case Crockford base-32 word."""
ID_PATTERN = rf"\d{{15}}-(?:[a-z]{{1,4}}-)?{SUFFIX_PATTERN}"
"""The id of any matter, as a regular expression."""
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_ID = re.compile(ID_PATTERN)
_MARK = re.compile(r"^(?:[a-z]{1,4})?$")
_NAME = re.compile(r"^[a-z][a-z_]{1,30}$")

IDS_KEPT = 16_384
"""For so many ids it is remembered which kind they are."""

MATTERS = "ledger.*.*.*.*.*.*"
"""The ledger subjects of all commits: the kind, four area codes and the id (policies and adapters have shorter subjects)."""


class Event(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True, tag_field="type"):
    """Base of all events: what happened. The tag is the stored name; past tense. Times are aware UTC, nothing personal is in one."""


class Command(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True, tag_field="command"):
    """Base of all commands: what somebody wants done. The tag is the stored name and the last part of the API path."""

    form: ClassVar[Form | None] = None
    """Who may give it, and an example; None: only the hub gives it, or it has a route of its own."""


S = TypeVar("S")
C = TypeVar("C", bound=Command)
E = TypeVar("E", bound=Event)


def tag_of(kind: type[msgspec.Struct] | msgspec.Struct) -> str:
    """The stored name of a command or an event."""
    return str(kind.__struct_config__.tag)


class Commit(msgspec.Struct, Generic[E], frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """One ledger message: all events of one command on one matter of the kind `aggregate`.

    `number` counts the matter's commits from 1. `previous` is the SHA-256 (hex) of its previous commit's bytes ("" for the first), so
    commits are hash-chained per matter. `wake_at`: linkage sets the matter's timer. `traceparent` is the W3C context of the span that
    decided this; `cause` that of the stimulus before it. A commit without events records a command that changed nothing.
    """

    aggregate: str
    id: MatterId
    number: int
    at: datetime
    command: str
    command_id: str
    command_digest: str
    actor: Actor
    policy: int
    events: tuple[E, ...]
    previous: str = ""
    wake_at: datetime | None = None
    traceparent: str | None = None
    cause: str | None = None
    v: int = 1


def command_id_of(commit: Commit[Any], effect: React) -> str:
    """The id of the command that a commit sets off in another matter. It is always the same, so the command runs once, whoever gives it."""
    return f"{commit.id}:{commit.number}:{effect.event}:{effect.to}:{tag_of(effect.command)}"


class CommandRecord(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A command already committed: its commit number and the hash of its content (for Idempotency-Key)."""

    number: int
    digest: str


NO_COMMANDS: Grown[str, CommandRecord] = Grown()


class Folded(msgspec.Struct, Generic[S], frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """A matter's state in its envelope.

    `number` counts its commits, `digest` is the last commit's hash, `sequence` its place in the ledger's stream. `commands` holds
    the commands seen by their ids (not in snapshots).
    """

    id: MatterId
    state: S
    number: int
    digest: str
    sequence: int
    opening_trace: str | None = None
    last_trace: str | None = None
    commands: Grown[str, CommandRecord] = NO_COMMANDS


class Decide(Protocol[S, C, E]):  # type: ignore[misc]  # a protocol over what a dataclass holds invariantly
    """How an aggregate decides."""

    def __call__(
        self, state: S | None, command: C, /, *, actor: Actor, rules: Any, now: datetime, id: MatterId
    ) -> tuple[E, ...]:
        """The events of `command` on `state` (None: not opened yet); none when there is nothing to do.

        Raises TransitionRefused (names state, command and rule) or InvalidInput (names the field); then nothing happens.
        """
        ...


class Evolve(Protocol[S, E]):  # type: ignore[misc]
    """How an aggregate evolves."""

    def __call__(self, state: S | None, event: E, /, *, at: datetime, id: MatterId) -> S:
        """The state after one event that was committed at `at`. Raises LedgerDamaged when it does not fit the state at all."""
        ...


Upcaster = Callable[[dict[str, Any]], dict[str, Any]]
"""Turns the stored form of one version of an event into the next version's. Takes and gives the event's JSON object without `v`."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Aggregate(Generic[S, C, E]):
    """One kind of matter. `name` stands in subjects and commits, `mark` in ids (letters, "" for cases).

    `opens`: the commands that may come first. `next_due`: when the matter's timer has to fire, None for never; `wake` is the
    command it gives then. `effects`: what follows from a commit outside the matter, `effectful` the events that can have any.
    """

    name: str
    mark: str
    state: type[S]
    commands: tuple[type[C], ...]
    events: tuple[type[E], ...]
    opens: tuple[type[C], ...]
    decide: Decide[S, C, E]
    evolve: Evolve[S, E]
    next_due: Callable[[S], datetime | None] = lambda _: None
    wake: C | None = None
    effects: Callable[[Commit[E], S], Iterable[Effect]] = lambda _commit, _state: ()
    effectful: tuple[type[E], ...] = ()
    contacts: Callable[[S], Sequence[MatterId]] = lambda _: ()
    """The matters whose reporters' names may not stand in texts about this one."""
    contact_access: Callable[[S, str, str], C | None] = lambda _state, _by, _purpose: None
    """The command to commit before (who, what for) reads the reporter's contact. None when there is no contact."""
    listeners: Callable[[S], tuple[Iterable[Source], Sequence[MatterId]]] = lambda _: ((), ())
    """The outside records that wait for word on the matter, and the matters that went on in it (their records wait, too)."""
    awaits: Callable[[S, Command], bool] = lambda _state, _command: True
    """Whether a matter still wants a command given to another in its name. After an answer it does not."""
    versions: Mapping[str, int] = field(default_factory=dict)
    """Present version of the events that have changed since their first; all others are at 1."""
    upcasters: Mapping[tuple[str, int], Upcaster] = field(default_factory=dict)
    """(name, version) → how that version becomes the next one."""

    def __post_init__(self) -> None:
        """Raises ValueError for a name or mark that can't stand in a subject or an id, and for a command whose texts declare too little."""
        if not _NAME.match(self.name) or not _MARK.match(self.mark):
            raise ValueError(f"not a name and mark of an aggregate: {self.name!r}, {self.mark!r}")
        for command in self.commands:
            check(command, given=command.form is not None)

    @property
    def given(self) -> tuple[type[C], ...]:
        """The commands people may give to a matter by their own word: routes and the command line have one for each."""
        return tuple(command for command in self.commands if command.form is not None and command not in self.opens)

    @property
    def opening(self) -> type[C] | None:
        """The command by which people open a matter. None when the kind has a way in of its own."""
        return next((command for command in self.opens if command.form is not None), None)

    def new_id(self, area: str, suffix: str) -> MatterId:
        """An id from the area where it arose; an area above the grid is filled with zeros. Raises ValueError."""
        return new_id(area, suffix, self.mark)

    def parse(self, text: str) -> MatterId:
        """Check that a text is an id of this kind; raises ValueError."""
        if not self.takes(text):
            raise ValueError(f"not a {self.name} id: {text!r}")
        return MatterId(text)

    def takes(self, text: str) -> bool:
        """Whether a text is an id of this kind."""
        return _ID.fullmatch(text) is not None and mark_of(text) == self.mark

    @property
    def id_pattern(self) -> str:
        """The ids of this kind, as a regular expression."""
        return rf"\d{{15}}-{self.mark}-{SUFFIX_PATTERN}" if self.mark else rf"\d{{15}}-{SUFFIX_PATTERN}"

    def subject(self, id: MatterId) -> str:
        """The ledger subject: `ledger.<name>.<district>.<street>.<community>.<grid>.<id>`."""
        return f"ledger.{self.name}.{id[:6]}.{id[6:9]}.{id[9:12]}.{id[12:15]}.{id}"

    def command_named(self, tag: str) -> type[C] | None:
        """The command with that stored name."""
        return next((kind for kind in self.commands if tag_of(kind) == tag), None)

    def fold(self, before: Folded[S] | None, commit: Commit[E], *, digest: str, sequence: int) -> Folded[S]:
        """The matter after `commit`. `digest` is the SHA-256 (hex) of its stored bytes, `sequence` its place in the stream.

        Raises LedgerDamaged when the commit is another matter's, is not the next one, or its events don't fit the state.
        """
        id, number, at = commit.id, commit.number, commit.at
        state: S | None
        if before is None:
            if number != 1 or commit.previous or not commit.events:
                raise LedgerDamaged(f"commit {number} of {self.name} {id} comes first but does not open it", subject=id)
            state = None
        else:
            if id != before.id:
                raise LedgerDamaged(f"commit {number} of {self.name} {id} was folded into {before.id}", subject=before.id)
            if number != before.number + 1:
                raise LedgerDamaged(f"{self.name} {id}: commit {number} follows commit {before.number}", subject=id)
            if commit.previous != before.digest:
                raise LedgerDamaged(f"{self.name} {id}: commit {number} does not carry the hash of the one before", subject=id)
            state = before.state
        evolve = self.evolve
        for event in commit.events:
            state = evolve(state, event, at=at, id=id)
        assert state is not None
        trace = commit.traceparent
        record = CommandRecord(number, commit.command_digest)
        if before is None:
            return Folded(
                id=id,
                state=state,
                number=number,
                digest=digest,
                sequence=sequence,
                opening_trace=trace,
                last_trace=trace,
                commands=NO_COMMANDS.with_(commit.command_id, record),
            )
        return Folded(
            id=id,
            state=state,
            number=number,
            digest=digest,
            sequence=sequence,
            opening_trace=before.opening_trace,
            last_trace=before.last_trace if trace is None else trace,
            commands=before.commands.with_(commit.command_id, record),
        )

    def wake_at(self, before: Folded[S] | None, after: S, now: datetime) -> datetime | None:
        """The time for the matter's timer after the commit between `before` and `after`. None: leave the timer as it is.

        The states alone decide. The newest state always sets the timer, so the present timer fires no later than `before` was due, unless
        it has fired or there was none. A timer set too early does no harm: the matter is asked and answers with nothing. A missing one
        does.
        """
        due = self.next_due(after)
        if due is None:
            return None
        known = None if before is None else self.next_due(before.state)
        return due if known is None or due < known or known <= now else None


class Aggregates:
    """The kinds of matters a hub knows; an id or a ledger subject tells which one it is."""

    def __init__(self, *kinds: Aggregate[Any, Any, Any]) -> None:
        """Raises ValueError when two have the same name or mark."""
        self._by_name = {kind.name: kind for kind in kinds}
        self._by_mark = {kind.mark: kind for kind in kinds}
        if len(self._by_name) != len(kinds) or len(self._by_mark) != len(kinds):
            raise ValueError("two aggregates have the same name or mark")
        self.of = lru_cache(maxsize=IDS_KEPT)(self._of)
        """The kind of a matter by its id; raises ValueError. Asked some forty times in one matter's life."""

    def __iter__(self) -> Iterator[Aggregate[Any, Any, Any]]:
        return iter(self._by_name.values())

    def _of(self, id: str) -> Aggregate[Any, Any, Any]:
        found = self._by_mark.get(mark_of(parse_id(id)))
        if found is None:
            raise ValueError(f"no kind of matter has such an id: {id!r}")
        return found

    def named(self, name: str) -> Aggregate[Any, Any, Any] | None:
        """The kind with that name."""
        return self._by_name.get(name)


def suffix_of(number: int) -> str:
    """The low 80 bits of a number as the suffix of an id: 16 characters, Crockford base 32."""
    letters = []
    for _ in range(16):
        letters.append(_ALPHABET[number & 31])
        number >>= 5
    return "".join(reversed(letters))


def new_id(area: str, suffix: str, mark: str = "") -> MatterId:
    """An id of the kind with that mark from the area where it arose; see `Aggregate.new_id`."""
    return parse_id(f"{area.ljust(15, '0')}-{mark}-{suffix.lower()}" if mark else f"{area.ljust(15, '0')}-{suffix.lower()}")


def parse_id(text: str) -> MatterId:
    """Check the form of an id, of whatever kind; raises ValueError."""
    if not _ID.fullmatch(text):
        raise ValueError(f"not the id of a matter: {text!r}")
    return MatterId(text)


def mark_of(id: str) -> str:
    """The mark in an id; "" for a case."""
    parts = id.split("-")
    return parts[1] if len(parts) == 3 else ""
