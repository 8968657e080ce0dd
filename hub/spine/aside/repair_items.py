"""What a repair is, and what becomes of one when the same thing happens again. Pure; kept by `hub.platform.upkeep.repairs`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import StrEnum

import msgspec

from hub.privacy.marks import plain
from hub.privacy.masks import mask_text

MOST_TEXT = 1000
MOST_SUBJECT = 300
MOST_WHY = 500
MOST_DETAIL = 500
THE_REST = "*"
"""Subject of the one repair that counts everything above the limit of its kind."""


class RepairKind(StrEnum):
    """What sort of thing is wrong."""

    UNMAPPED_STATUS = "unmapped_status"
    UNMAPPED_CATEGORY = "unmapped_category"
    UNMAPPED_ANSWER = "unmapped_answer"
    CATALOGUE_CHANGED = "catalogue_changed"
    DISAGREEMENT = "disagreement"
    PUT_ASIDE = "put_aside"
    BLOCKED_LOOP = "blocked_loop"
    FAILED_INSTANCE = "failed_instance"


class RepairState(StrEnum):
    """Where a repair stands."""

    OPEN = "open"
    RESOLVED = "resolved"
    """Put right; opens again when it happens again."""
    DISMISSED = "dismissed"
    """Looked at and left so. It opens again only when its facts change, or when its cause comes back after it had gone."""


class Repair(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong, as whoever finds it says. `text`: a Chinese sentence for operators, nothing personal."""

    kind: RepairKind
    adapter: str
    subject: str
    """The exact thing, stable: a status word, a delivery key, a feedback's id. With kind and adapter it makes the identity."""
    text: str
    case: str | None = None
    unit: str | None = None
    """Whose, where it concerns one unit: departments' people see their own only."""
    facts: str = ""
    """What a dismissal is about (the two states, a hash of a catalogue): a dismissed repair opens again when they differ."""
    details: Mapping[str, str] = {}

    @property
    def id(self) -> str:
        """The same for the same kind, adapter and subject."""
        return hashlib.sha256(f"{self.kind.value}\n{self.adapter}\n{self.subject}".encode(errors="replace")).hexdigest()[:16]


_TABLES = {
    "statuses": (RepairKind.UNMAPPED_STATUS, "状态"),
    "categories": (RepairKind.UNMAPPED_CATEGORY, "分类"),
    "reached": (RepairKind.UNMAPPED_ANSWER, "联系结果"),
    "solved": (RepairKind.UNMAPPED_ANSWER, "解决情况"),
    "satisfied": (RepairKind.UNMAPPED_ANSWER, "满意度"),
}
"""What a word that is in no table of the crosswalk becomes, and what the table is called."""


def unmapped(adapter: str, table: str, word: str, about: str | None) -> Repair:
    """The repair of a word that is in no table. An answer's subject names its table too: 是 is a word of several."""
    kind, what = _TABLES[table]
    subject = f"{table}.{word}" if kind is RepairKind.UNMAPPED_ANSWER else word
    text = f"对照表中没有{what}“{word}”" + (f"（{about}）" if about else "")
    return Repair(kind=kind, adapter=adapter, subject=subject, text=text)


class RepairItem(msgspec.Struct, frozen=True, kw_only=True):
    """A repair as it is stored. `ended_by` resolved or dismissed it; `why` is their reason."""

    id: str
    kind: RepairKind
    adapter: str
    subject: str
    text: str
    state: RepairState
    first_at: datetime
    last_at: datetime
    count: int = 1
    case: str | None = None
    unit: str | None = None
    facts: str = ""
    details: dict[str, str] = {}
    reopened: int = 0
    ended_at: datetime | None = None
    ended_by: str | None = None
    why: str | None = None


class RepairFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which repairs; None means any. `adapters`: only of these; `unit`: leave out what concerns other units."""

    adapters: frozenset[str] | None = None
    kind: RepairKind | None = None
    state: RepairState | None = None
    case: str | None = None
    unit: str | None = None
    limit: int = 100
    cursor: str | None = None

    def takes(self, item: RepairItem) -> bool:
        """Whether an item is wanted."""
        return (
            (self.adapters is None or item.adapter in self.adapters)
            and (self.kind is None or item.kind is self.kind)
            and (self.state is None or item.state is self.state)
            and (self.case is None or item.case == self.case)
            and (self.unit is None or item.unit is None or item.unit == self.unit)
        )


class RepairPage(msgspec.Struct, frozen=True):
    """A piece of the list, latest first; `cursor` gives the next piece, None at the end."""

    items: tuple[RepairItem, ...]
    cursor: str | None = None


def fresh(repair: Repair, at: datetime, times: int = 1) -> RepairItem:
    """The item of a repair that is not known yet. Pure."""
    return RepairItem(
        id=repair.id,
        kind=repair.kind,
        adapter=repair.adapter,
        subject=shown(repair.subject, MOST_SUBJECT),
        text=shown(repair.text, MOST_TEXT),
        state=RepairState.OPEN,
        first_at=at,
        last_at=at,
        count=times,
        case=repair.case,
        unit=repair.unit,
        facts=repair.facts[:MOST_DETAIL],
        details={name[:64]: shown(value, MOST_DETAIL) for name, value in repair.details.items()},
    )


def again(item: RepairItem, repair: Repair, at: datetime, times: int = 1) -> RepairItem:
    """The item after the same thing happened again: counted; open again unless dismissed on the same facts. Pure."""
    new = fresh(repair, at)
    counted = msgspec.structs.replace(item, count=item.count + times, last_at=max(at, item.last_at))
    if item.state is RepairState.DISMISSED and item.facts == new.facts:
        return counted
    reopened = item.state is not RepairState.OPEN
    return msgspec.structs.replace(
        counted,
        state=RepairState.OPEN,
        text=new.text,
        case=new.case or item.case,
        unit=new.unit or item.unit,
        facts=new.facts,
        details=new.details,
        reopened=item.reopened + reopened,
        ended_at=None if reopened else item.ended_at,
        ended_by=None if reopened else item.ended_by,
        why=None if reopened else item.why,
    )


def only_counts(item: RepairItem, repair: Repair) -> bool:
    """Whether noting it again would change nothing but the count."""
    return item.facts == repair.facts[:MOST_DETAIL] and item.state is not RepairState.RESOLVED


def rest_of(repair: Repair, most: int) -> Repair:
    """The one repair that counts all above `most` of its kind."""
    text = f"同类待修事项已超过 {most} 项，其余不再逐项列出，请先处理已列出的事项"
    return Repair(kind=repair.kind, adapter=repair.adapter, subject=THE_REST, text=text)


def shown(text: str, most: int) -> str:
    """Text as it may be kept: nothing personal, at most so many characters."""
    masked = mask_text(plain(text))
    return masked if len(masked) <= most else f"{masked[: most - 1]}…"


def named(items: Iterable[str], most: int = 5) -> str:
    """A few of them by name and how many in all, in Chinese: `甲、乙等 7 项`."""
    found = list(items)
    shown = "、".join(found[:most])
    return shown if len(found) <= most else f"{shown}等 {len(found)} 项"
