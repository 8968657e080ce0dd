"""What linkage asks of dispatch: one task per effect, stored in the adapter's queue."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec

from hub.model.cases import CaseId


class TaskKind(StrEnum):
    """What is to be done at the departmental system."""

    DELIVER = "deliver"
    RECALL = "recall"
    URGE = "urge"
    INFORM = "inform"


class Task(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """One effect. `id` is derived from the commit (`<case>:<commit number>:<effect>`), so that the same effect is stored once.
    `number` and `at` are that commit's: whoever carries it out has to know the case at least up to there, and notices that overtake one
    another are put in order by when they happened.

    `effect` names it in the ledger: `deliver:a1`, `recall:a1`, `urge:a1`, `inform:closed`. `ref` is the source's own number (inform).
    """

    id: str
    kind: TaskKind
    case: CaseId
    number: int
    at: datetime
    adapter: str
    effect: str
    assignment: str | None = None
    ref: str | None = None
    stage: str | None = None
    text: str | None = None
    traceparent: str | None = None
    cause: str | None = None


encode_task = msgspec.json.Encoder().encode
decode_task = msgspec.json.Decoder(Task).decode
