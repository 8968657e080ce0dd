"""Lists a department keeps: how all tickets stand, and its own categories. Read by pointers; what can't be read is a fault. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from hub import AdapterFault, Audit, Standing
from hub_webhook.pointers import at, text_at
from hub_webhook.settings import AuditRules, CatalogueRules


def audit_of(document: Any, rules: AuditRules, zone: ZoneInfo) -> Audit:
    """A page of tickets; raises AdapterFault when something on it can't be read: a page read by half would accuse the department."""
    found = []
    for item in _items(document, rules.items):
        ticket, word = text_at(item, rules.ticket, most=200), text_at(item, rules.state, most=200)
        if ticket is None or word is None:
            raise AdapterFault("a listed ticket has no number or no state")
        state = rules.states.get(word)
        if state is None:
            raise AdapterFault(f"the listed state {word!r} is not in audit.states")
        found.append(
            Standing(ticket=ticket, state=state, key=text_at(item, rules.key, most=200), at=_time(item, rules.at, zone))
        )
    return Audit(items=found, cursor=text_at(document, (rules.next,), most=500))


def catalogue_of(document: Any, rules: CatalogueRules) -> Mapping[str, str]:
    """Code → name; raises AdapterFault."""
    found: dict[str, str] = {}
    for item in _items(document, rules.items):
        code, name = text_at(item, rules.code, most=100), text_at(item, rules.name, most=200)
        if code is None or name is None:
            raise AdapterFault("a listed category has no code or no name")
        found[code] = name
    return found


def _items(document: Any, pointer: str) -> list[Any]:
    items = at(document, pointer)
    if not isinstance(items, list):
        raise AdapterFault(f"there is no list at {pointer or 'the top'} of the answer")
    return items


def _time(item: Any, pointers: tuple[str, ...], zone: ZoneInfo) -> datetime | None:
    said = text_at(item, pointers, most=60)
    try:
        found = None if said is None else datetime.fromisoformat(said)
    except ValueError:
        raise AdapterFault("the time of a listed ticket is no ISO 8601") from None
    return found.replace(tzinfo=zone) if found is not None and found.tzinfo is None else found
