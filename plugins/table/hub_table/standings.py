"""How assignments stand by what lies in the shared folder, for the nightly reconciliation; and the department's list of categories. Pure.

The audit reads one table a page: work lists first (filed), then tables that came back (accepted; then, again, resolved or returned: reports
may come in any order), then work lists again (recalled), so that the last page that names a ticket says how it stands.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum

from hub import FeedbackKind, Standing, StandingState
from hub_table.cells import is_key, text_of, ticket_of
from hub_table.returns import Form
from hub_table.sheets import Row

_STATES = {
    FeedbackKind.ACCEPTED: StandingState.ACCEPTED,
    FeedbackKind.PROGRESS: StandingState.ACCEPTED,
    FeedbackKind.RESOLVED: StandingState.RESOLVED,
    FeedbackKind.RETURNED: StandingState.RETURNED,
}


class Reading(StrEnum):
    """What a page looks for."""

    FILED = "filed"
    ACCEPTED = "accepted"
    ENDED = "ended"
    RECALLED = "recalled"


def standings(rows: Sequence[Row], form: Form, reading: Reading) -> tuple[Standing, ...]:
    """How the assignments in one table stand; the last row of each counts. Rows that can't be read say nothing."""
    header = [text_of(cell, form.zone) for cell in rows[0].cells] if rows else []
    found: dict[str, Standing] = {}
    for row in rows[1:]:
        said = {name: text_of(cell, form.zone) for name, cell in zip(header, row.cells, strict=False) if name}
        value = {field: said.get(column, "").removeprefix("'") for field, column in form.columns.items()}
        key, ticket = value["key"], value.get("ticket", "")
        state = _state(value, form, reading)
        if state is None or not (is_key(key) or (ticket and not key)):
            continue
        number = ticket_of(key) if key else ticket
        found[number] = Standing(ticket=number, state=state, key=key or None)
    return tuple(found.values())


def categories(rows: Sequence[Row], form: Form) -> dict[str, str]:
    """Code → name of a table with the columns 分类代码 and 分类名称; rows without a code are left out."""
    header = [text_of(cell, form.zone) for cell in rows[0].cells] if rows else []
    found: dict[str, str] = {}
    for row in rows[1:]:
        said = dict(zip(header, (text_of(cell, form.zone) for cell in row.cells), strict=False))
        if said.get("分类代码"):
            found[said["分类代码"]] = said.get("分类名称", "") or said["分类代码"]
    return found


def _state(value: Mapping[str, str], form: Form, reading: Reading) -> StandingState | None:
    kind = value.get("kind", "")
    match reading:
        case Reading.FILED:
            return StandingState.FILED if kind in ("派单", "") else None
        case Reading.RECALLED:
            return StandingState.RECALLED if kind == "撤回" else None
        case Reading.ACCEPTED | Reading.ENDED:
            status = value.get("status", "")
            state = _STATES.get(form.statuses.get(status, FeedbackKind.PROGRESS)) if status else None
            return state if (state is StandingState.ACCEPTED) == (reading is Reading.ACCEPTED) else None
