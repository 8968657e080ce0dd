"""Bodies and answers of the routes of repairs, reconciliation, catalogues and crosswalks; also for the OpenAPI document."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, ClassVar

import msgspec

from hub.contract import FeedbackKind
from hub.model.answers import Reached, Satisfied, Solved
from hub.model.texts import Prose
from hub.platform.upkeep.catalogues import Drift
from hub.platform.upkeep.crosswalk import CategoryRow, Concerned, FieldChange, Tables, WordChange
from hub.platform.upkeep.heard_words import HeardWord
from hub.platform.upkeep.repairs import RepairItem
from hub.platform.upkeep.run_log import Run
from hub.surfaces.api.bodies import Body, Example
from hub.surfaces.api.models import Answer


class RepairList(Answer, frozen=True, kw_only=True):
    """Repairs, the latest first; `cursor` gives the next piece."""

    items: list[RepairItem]
    cursor: str | None


class EndRepairBody(Body, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Why it is put right. `apply`: take the department's state as the missed feedback, where the repair offers it."""

    example: ClassVar[Example] = {"reason": "已与部门核实并补入对照表"}

    reason: Prose
    apply: bool = False


class RunList(Answer, frozen=True, kw_only=True):
    """The last reconciliations of an adapter, the latest first. `next_at`: when the nightly one comes; None when there is none."""

    items: list[Run]
    next_at: datetime | None


class AcceptedAnswer(Answer, frozen=True, kw_only=True):
    """A catalogue that was accepted: code → name, who took it over and when."""

    version: int
    at: datetime
    by: str
    codes: dict[str, str]


class CatalogueAnswer(Answer, frozen=True, kw_only=True):
    """A department's accepted categories, and their differences to its present ones. `seen`: names the last ones seen, for accepting them.

    `drift.dangling`: entries of the crosswalk (our category → their code) that point to removed codes.
    """

    adapter: str
    accepted: AcceptedAnswer
    seen: str
    seen_at: datetime
    changed: bool
    drift: Drift


class AcceptCatalogueBody(Body, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The catalogue to accept: `seen` of the answer you looked at. A newer one is refused, because nobody has seen it."""

    example: ClassVar[Example] = {"seen": "9f2c51d07ab3e864"}

    seen: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


class CrosswalkBody(Tables, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Tables of a crosswalk; a missing one stays. `untried`: do not ask the department's system first."""

    example: ClassVar[Example] = {
        "statuses": {"已转派": "progress"},
        "categories": {"E04": "RQ-01"},
        "satisfied": {"比较满意": "mostly"},
        "note": "对方新增状态",
    }

    note: Annotated[str, msgspec.Meta(max_length=500)] = ""
    untried: bool = False


class CrosswalkAnswer(Answer, frozen=True, kw_only=True):
    """The crosswalk in force. `own`: the instance's own entries, which go before the plugin's. `words`: all words heard so far."""

    adapter: str
    version: int
    statuses: dict[str, FeedbackKind]
    categories: dict[str, str]
    fields: dict[str, str]
    reached: dict[str, Reached]
    solved: dict[str, Solved]
    satisfied: dict[str, Satisfied]
    own: dict[str, list[str]]
    words: list[HeardWord]
    unmapped_words: list[str]


class DryRunAnswer(Answer, frozen=True, kw_only=True):
    """The words heard and cases handled so far, as another crosswalk would have taken them. Changes nothing."""

    adapter: str
    words: list[WordChange]
    unmapped_words: list[str]
    categories: list[CategoryRow]
    unmapped_categories: list[str]
    fields: list[FieldChange]


__all__ = [
    "AcceptCatalogueBody",
    "AcceptedAnswer",
    "CatalogueAnswer",
    "Concerned",
    "CrosswalkAnswer",
    "CrosswalkBody",
    "DryRunAnswer",
    "EndRepairBody",
    "RepairItem",
    "RepairList",
    "Run",
    "RunList",
]
