"""Body and answer of a trial."""

from __future__ import annotations

from typing import Any, ClassVar

from hub.surfaces.api.bodies import Body, Example
from hub.surfaces.api.models import Answer


class TryBody(Body, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What to try. `sample`: false for the health only, true for a marked assignment, or fields of one (the mark is added).

    `recall`: take the sample back afterwards. `candidate`: use the candidate's settings. `record`: answer with a cassette as well.
    """

    example: ClassVar[Example] = {"sample": True}

    sample: bool | dict[str, Any] = False
    recall: bool = True
    candidate: bool = False
    record: bool = False


class TrialAnswer(Answer, frozen=True, kw_only=True):
    """A trial. `ok`; one sentence in `text`; in `trial` every call with its requests, answers, errors, log lines and spans.

    Secrets and personal data are struck out everywhere. `cassette`: the text of a cassette file, if the body asked for one.
    """

    ok: bool
    text: str
    trial: dict[str, Any]
    cassette: str | None = None
