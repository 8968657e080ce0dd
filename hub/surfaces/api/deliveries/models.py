"""Answers of the delivery log."""

from __future__ import annotations

from datetime import datetime

import msgspec

from hub.model.assignments.state import AttemptOutcome, DeadLetter
from hub.surfaces.api.cases.models import AttemptAnswer
from hub.surfaces.api.models import Answer


class DeliveryAnswer(Answer, frozen=True, kw_only=True):
    """What was handed to a department's system, and every try. `tried_at`: when the last one began, else when it was made.

    `resend`: whether `POST …/resend` is open to it: yes, again (only with `again: true`), or no. `letter`: how the attempts of a
    dead one were used up 死信.
    """

    key: str
    case: str
    assignment: str
    title: str
    area: str
    unit: str
    unit_name: str
    adapter: str
    role: str
    state: str
    resend: str
    made_at: datetime
    tried_at: datetime
    outcome: AttemptOutcome | None = None
    ticket: str | None = None
    delivered_at: datetime | None = None
    attempts: list[AttemptAnswer] = msgspec.field(default_factory=list)
    letter: DeadLetter | None = None


class DeliveryList(Answer, frozen=True, kw_only=True):
    """A piece of the delivery log, latest attempt first; `cursor` gives the next one."""

    items: list[DeliveryAnswer]
    cursor: str | None = None
