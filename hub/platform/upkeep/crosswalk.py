"""The crosswalk in force of an instance, and the dry run of another: which of the words seen so far would mean something else.

Reads words heard, read models and the roster. Changes only the repairs of words that are mapped by now. Crosswalk changes themselves are
instance changes (hub/platform/instances/registration.py). Called by the API and, for the crosswalk in force, by catalogues.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import msgspec

from hub.contract import Crosswalk, FeedbackKind
from hub.contract.crosswalk import TABLES
from hub.errors import InvalidInput
from hub.model.answers import QUESTIONS, Reached, Satisfied, Solved
from hub.model.assignments.state import delivery_key, parse_delivery_key
from hub.model.case.state import CaseId
from hub.platform.upkeep.heard_words import OTHERS, HeardWord, HeardWords
from hub.platform.upkeep.repairs import RepairItem, RepairKind, Repairs
from hub.spine.ledger.desk import utc_now
from hub.views import by_adapter

if TYPE_CHECKING:
    from sqlalchemy import Select

    from hub.model.policy.district import District
    from hub.platform.adapters import Adapters
    from hub.views.views import Views

MAPPED = "已列入对照表"
MOST_CONCERNED = 200
"""Open assignments named in one dry run."""


class Tables(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A crosswalk as its author writes it. A missing table stays as the instance has it."""

    statuses: dict[str, str] | msgspec.UnsetType = msgspec.UNSET
    categories: dict[str, str] | msgspec.UnsetType = msgspec.UNSET
    fields: dict[str, str] | msgspec.UnsetType = msgspec.UNSET
    reached: dict[str, str] | msgspec.UnsetType = msgspec.UNSET
    solved: dict[str, str] | msgspec.UnsetType = msgspec.UNSET
    satisfied: dict[str, str] | msgspec.UnsetType = msgspec.UNSET


class Concerned(msgspec.Struct, frozen=True, kw_only=True):
    """An open assignment with a heard word."""

    key: str
    case: str
    unit: str
    state: str


class WordChange(msgspec.Struct, frozen=True, kw_only=True):
    """A heard status word that would mean something else. None: not mapped (taken as progress, with a repair)."""

    word: str
    before: FeedbackKind | None
    after: FeedbackKind | None
    count: int
    last_at: datetime
    concerned: list[Concerned] = []


class CategoryRow(msgspec.Struct, frozen=True, kw_only=True):
    """A category of ours that went through the adapter: their code now and then, None: not mapped."""

    code: str
    name: str
    count: int
    open: int
    before: str | None
    after: str | None
    changed: bool


class FieldChange(msgspec.Struct, frozen=True, kw_only=True):
    """A field that would have another name at the department."""

    field: str
    before: str
    after: str


class DryRun(msgspec.Struct, frozen=True, kw_only=True):
    """What another crosswalk would have made of the words and cases seen so far."""

    adapter: str
    words: list[WordChange]
    unmapped_words: list[str]
    categories: list[CategoryRow]
    unmapped_categories: list[str]
    fields: list[FieldChange]


class CrosswalkView(msgspec.Struct, frozen=True, kw_only=True):
    """The crosswalk in force. `own`: the entries of the instance itself, which go before the plugin's; `words`: heard so far."""

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


class Crosswalks:
    """Crosswalks of the running instances."""

    def __init__(
        self,
        adapters: Adapters,
        words: HeardWords,
        views: Views,
        repairs: Repairs,
        district: Callable[[], District],
        *,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._adapters = adapters
        self._words = words
        self._views = views
        self._repairs = repairs
        self._district = district
        self._clock = clock

    def in_force(self, adapter: str) -> Crosswalk:
        """The instance's entries before those of its plugin; raises NotAllowed."""
        one = self._adapters.get(adapter)
        own = one.instance.crosswalk
        return one.manifest.crosswalk if own is None else own.over(one.manifest.crosswalk)

    async def show(self, adapter: str) -> CrosswalkView:
        """The crosswalk in force and the words heard. Raises NotAllowed."""
        force = self.in_force(adapter)
        instance = self._adapters.get(adapter).instance
        own = instance.crosswalk or Crosswalk()
        words = await self._words.of(adapter)
        return CrosswalkView(
            adapter=adapter,
            version=instance.version,
            **{table: dict(getattr(force, table)) for table in TABLES},
            own={table: [*getattr(own, table)] for table in TABLES},
            words=words,
            unmapped_words=[one.word for one in words if one.word != OTHERS and one.word not in force.statuses],
        )

    async def dry_run(self, adapter: str, tables: Tables) -> DryRun:
        """What would come out differently. Raises NotAllowed, InvalidInput naming the entry."""
        before = self.in_force(adapter)
        one = self._adapters.get(adapter)
        after = _with(one.instance.crosswalk or Crosswalk(), tables).over(one.manifest.crosswalk)
        words = [word for word in await self._words.of(adapter) if word.word != OTHERS]
        changed = [word for word in words if before.statuses.get(word.word) is not after.statuses.get(word.word)]
        concerned = await self._concerned(adapter, changed)
        policy = self._district().policy
        categories = []
        for code, count, open in await self._rows(by_adapter.categories(adapter)):
            known = policy.category(code)
            old, new = their_code(before, code), their_code(after, code)
            categories.append(
                CategoryRow(
                    code=code,
                    name=known.name if known is not None else "",
                    count=int(count),
                    open=int(open or 0),
                    before=old,
                    after=new,
                    changed=old != new,
                )
            )
        names = dict.fromkeys((*before.fields, *after.fields))
        return DryRun(
            adapter=adapter,
            words=[
                WordChange(
                    word=word.word,
                    before=before.statuses.get(word.word),
                    after=after.statuses.get(word.word),
                    count=word.count,
                    last_at=word.last_at,
                    concerned=concerned.get(word.word, []),
                )
                for word in changed
            ],
            unmapped_words=[word.word for word in words if word.word not in after.statuses],
            categories=categories,
            unmapped_categories=[row.code for row in categories if row.after is None] if after.categories else [],
            fields=[
                FieldChange(field=name, before=before.fields.get(name, name), after=after.fields.get(name, name))
                for name in names
                if before.fields.get(name, name) != after.fields.get(name, name)
            ],
        )

    async def settle(self, adapter: str) -> int:
        """Resolve the repairs of words and categories that are mapped by now; how many. Raises NotAllowed, BusUnavailable."""
        force = self.in_force(adapter)
        now = self._clock()

        def mapped(item: RepairItem) -> bool:
            if item.kind is RepairKind.UNMAPPED_STATUS:
                return item.subject in force.statuses
            if item.kind is RepairKind.UNMAPPED_ANSWER:
                table, _, word = item.subject.partition(".")
                return word in getattr(force, table)
            return their_code(force, item.subject) is not None

        resolved = 0
        for kind in (RepairKind.UNMAPPED_STATUS, RepairKind.UNMAPPED_CATEGORY, RepairKind.UNMAPPED_ANSWER):
            resolved += await self._repairs.settle(adapter, kind, MAPPED, before=now, only=mapped)
        return resolved

    async def _concerned(self, adapter: str, words: Iterable[HeardWord]) -> dict[str, list[Concerned]]:
        """Open assignments that lately had one of the changed words, by word."""
        about: dict[str, list[str]] = {}
        for word in words:
            for ref in word.about:
                about.setdefault(ref, []).append(word.word)
        cases = {case for ref in about if (case := _case_of(ref)) is not None}
        tickets = {ref for ref in about if _case_of(ref) is None}
        found: dict[str, list[Concerned]] = {}
        named = 0
        for statement in (by_adapter.of_cases(sorted(cases)), by_adapter.of_tickets((adapter,), sorted(tickets))):
            rows = await self._rows(statement)
            for case, assignment, unit, state, ticket, owing, _, through in rows:
                key = delivery_key(case, assignment)
                said = about.get(key) or about.get(ticket or "")
                if said is None or not owing or through != adapter or named >= MOST_CONCERNED:
                    continue
                named += 1
                for one in said:
                    found.setdefault(one, []).append(Concerned(key=key, case=case, unit=unit, state=state))
        return found

    async def _rows(self, statement: Select[Any]) -> list[Any]:
        return await self._views.read(lambda connection: list(connection.execute(statement).all()))


def their_code(crosswalk: Crosswalk, code: str) -> str | None:
    """Their code of our category by the longest mapped prefix, as adapters get it. None when it is not mapped. Pure."""
    for length in range(len(code), 0, -1):
        found = crosswalk.categories.get(code[:length])
        if found is not None:
            return found
    return None


def _with(own: Crosswalk, tables: Tables) -> Crosswalk:
    """The instance's own entries with the given tables. Raises InvalidInput."""
    given: dict[str, Any] = {
        table: _read(table, found) for table in TABLES if (found := getattr(tables, table)) is not msgspec.UNSET
    }
    return replace(own, **given)


def _read(table: str, entries: Mapping[str, str]) -> dict[str, Any]:
    values: type[StrEnum] | None = FeedbackKind if table == "statuses" else QUESTIONS.get(table)
    if values is None:
        return dict(entries)
    found = {}
    for word, value in entries.items():
        try:
            found[word] = values(value)
        except ValueError:
            raise InvalidInput(f"{value} is none of {', '.join(values)}", subject=f"{table}.{word}") from None
    return found


def _case_of(ref: str) -> CaseId | None:
    try:
        return parse_delivery_key(ref)[0]
    except ValueError:
        return None
