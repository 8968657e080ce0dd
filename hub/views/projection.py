"""How one kind of matter stands in the read models: its own table, and what of its events goes into the shared ones.

The projector and the views know projections, never a kind by name. `CASES` is the first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import Table

from hub.model.aggregate import Aggregate, Commit, Event, Folded
from hub.model.assignments.state import Assigned
from hub.model.case import CASE
from hub.model.case.state import Case
from hub.views import rows, schema
from hub.views.bulk import Row

S = TypeVar("S")


@dataclass(frozen=True, kw_only=True, eq=False)
class Projection(Generic[S]):
    """The read model of one kind. Raise `version` when the table's content changes; new columns are noticed without it.

    `table` has a row for each matter, with at least the columns `opened` (ledger sequence of the first commit), `id`, `area`, `updated_at`
    (microseconds) and `doc` (read by `decode`). `row` makes one, of the form `bulk.row_of(table)`.
    """

    aggregate: Aggregate[S, Any, Any]
    version: int
    table: Table
    row: Callable[[Folded[S], int, int], Row]
    decode: Callable[[str], Folded[S]]
    words: Callable[[Commit[Any], Event], str | None] = lambda _commit, _event: None
    """The words by which a matter can be found because of an event, if any."""
    sources: Callable[[Commit[Any], Event], Row | None] = lambda _commit, _event: None
    """The row of `sources` when an event ties an outside record to the matter."""
    files: Callable[[Commit[Any], Event], Iterable[Row]] = lambda _commit, _event: ()
    """The rows of `files`: what an event attached to the matter."""

    @property
    def holds_assignments(self) -> bool:
        """Whether matters of this kind have assignments."""
        return issubclass(self.aggregate.state, Assigned)


CASES: Projection[Case] = Projection(
    aggregate=CASE,
    version=3,
    table=schema.cases,
    row=rows.case_row,
    decode=rows.decode_case,
    words=rows.searchable,
    sources=rows.source_row,
    files=rows.file_rows,
)
