"""What an operator has to look at: entries `<why>:<assignment or kind of limit>` on a case. Pure. Called by the evolving modules."""

from __future__ import annotations


def calm(attention: tuple[str, ...], name: str) -> tuple[str, ...]:
    """Attention without the entries of one assignment (or of one kind of the case's own deadlines)."""
    if not attention:
        return attention
    return tuple(entry for entry in attention if entry.partition(":")[2] != name)


def alarm(attention: tuple[str, ...], entry: str) -> tuple[str, ...]:
    """Attention with one entry more, once."""
    return attention if entry in attention else (*attention, entry)


def calm_overdue(attention: tuple[str, ...], name: str) -> tuple[str, ...]:
    """Attention without the word that a limit passed."""
    return tuple(entry for entry in attention if entry != f"overdue:{name}") if attention else attention


def calm_delivery(attention: tuple[str, ...], id: str) -> tuple[str, ...]:
    """Attention without an assignment's delivery troubles; that it is late stays."""
    if not attention:
        return attention
    gone = (f"dead:{id}", f"uncertain:{id}", f"refused:{id}")
    return tuple(entry for entry in attention if entry not in gone)
