"""Effects of a commit outside the matter: a message to a department or a source, a command to another matter. Values, pure.

An aggregate's `effects` names them. Linkage stores each once, under an id derived from the commit. `Task` is the stored form of work for an
adapter instance.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

import msgspec

Aware = Annotated[datetime, msgspec.Meta(tz=True)]
"""A time with its offset; one without is no message of the hub's."""


class Verb(StrEnum):
    """The hub's messages to a departmental system. Each is the contract's method by that name. All but `deliver` are a capability.

    A verb on an assignment needs a line here, the event it follows from (`assignments/effects.py`), its capability and its method.
    """

    DELIVER = "deliver"
    RECALL = "recall"
    URGE = "urge"
    INFORM = "inform"


class Tell(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Something an adapter instance has to do about one assignment. `event`: which event of the commit asks for it, from 0."""

    verb: Verb
    event: int
    adapter: str
    assignment: str
    text: str | None = None
    while_open: bool = False
    """Whether it is pointless once the assignment has ended."""


class Inform(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Tells every outside record that waits for word on the matter of a stage. With `only`, that one alone."""

    event: int
    stage: str
    text: str
    only: tuple[str, str] | None = None
    """(adapter, number) of the one record that hears it; None: all."""


class React(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A command to another matter 联动. If the other refuses, this matter gets `refused`, with its `reason` filled in."""

    event: int
    to: str
    command: Any
    refused: Any = None


class Call(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Something outside the ledger has to be done about the matter itself, by the procedure registered under `procedure`."""

    event: int
    procedure: str


Effect = Tell | Inform | React | Call


class Task(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """One effect at an adapter instance. `id` is derived from the commit, so that the same effect is stored once.

    `number` and `at` are that commit's. Whoever carries it out must know the matter at least up to `number`; notices that overtake one
    another are ordered by `at`. `effect` names it in the ledger: `deliver:a1`, `recall:a1`, `urge:a1`, `inform:closed`. `ref` is the
    source's own number (inform).
    """

    id: str
    verb: Verb
    matter: str
    number: int
    at: Aware
    adapter: str
    effect: str
    assignment: str | None = None
    ref: str | None = None
    stage: str | None = None
    text: str | None = None
    while_open: bool = False
    traceparent: str | None = None
    cause: str | None = None


class Reaction(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """What follows from a commit inside the hub, as it waits in its queue. `id` is derived from the commit; it is the id of the
    command too, so that it is done once.

    `origin` and `number` name the commit. Either `to` and `command` (JSON) are set, or `procedure`.
    """

    id: str
    origin: str
    number: int
    to: str | None = None
    command: msgspec.Raw = msgspec.Raw(b"null")
    refused: msgspec.Raw = msgspec.Raw(b"null")
    procedure: str | None = None
    traceparent: str | None = None


encode_reaction = msgspec.json.Encoder().encode
decode_reaction = msgspec.json.Decoder(Reaction).decode

encode_task = msgspec.json.Encoder().encode
decode_task = msgspec.json.Decoder(Task).decode
