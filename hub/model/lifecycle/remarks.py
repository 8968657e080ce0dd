"""What changes no stage: remarks, files, reminders, supervision, and the reporter's contact. Pure. Called by `decide`."""

from __future__ import annotations

from hub.model import commands as c
from hub.model import events as e
from hub.model.areas import Level
from hub.model.cases import ActorKind
from hub.model.lifecycle.deciding import LIVE, Deciding
from hub.model.lifecycle.work import check_file


def comment(d: Deciding, command: c.Comment) -> None:
    """A remark; also on a case that has ended."""
    d.needs_voice()
    d.emit(e.Commented(text=d.text("text", command.text)))


def attach(d: Deciding, command: c.Attach) -> None:
    """A file; also on a case that has ended. The same file counts once."""
    d.needs_voice()
    check_file(command.attachment, "attachment")
    if command.attachment not in d.case.attachments:
        d.emit(e.Attached(attachment=command.attachment, note=command.note))


def urge(d: Deciding, command: c.Urge) -> None:
    """Remind the unit of one assignment, or the holder."""
    if command.assignment is None:
        d.stages(*LIVE)
    else:
        d.live()
        found = d.assignment(command.assignment)
        if not found.state.open:
            d.refuse("nothing is owed on this assignment any more", assignment=found)
    d.needs_holder()
    d.text("message", command.message)
    d.emit(e.Urged(message=command.message, assignment=command.assignment))


def supervise(d: Deciding, command: c.Supervise) -> None:
    """Formal supervision by a level above the holder; where the district itself holds the case it supervises its units."""
    case = d.stages(*LIVE)
    d.needs_holder()
    d.text("message", command.message)
    if command.assignment is not None:
        found = d.assignment(command.assignment)
        if not found.state.open:
            d.refuse("nothing is owed on this assignment any more", assignment=found)
    held_at = case.level or Level.GRID
    above = Level(min(held_at + 1, Level.DISTRICT))
    level = above if d.actor.kind is ActorKind.SYSTEM else d.actor.level
    own = held_at is Level.DISTRICT and command.assignment is not None
    if level is None or (level <= held_at and not own):
        d.refuse("only a level above the holder may supervise")
    d.emit(e.Supervised(level=level, message=command.message, assignment=command.assignment))


def access_contact(d: Deciding, command: c.AccessContact) -> None:
    """Somebody is about to read the contact: those who hold the case, and units that owe something on it."""
    case = d.case
    if not d.steers and not any(item.unit == d.actor.unit and item.state.open for item in case.assignments):
        d.refuse("only those who hold the case or owe something on it may read the contact")
    d.text("by", command.by)
    d.text("purpose", command.purpose)
    if not case.has_contact or case.contact_erased:
        d.refuse("there is no contact")
    d.emit(e.ContactAccessed(by=command.by, purpose=command.purpose, fields=command.fields))


def erase_contact(d: Deciding, command: c.EraseContact) -> None:
    """The contact's key was destroyed; once."""
    case = d.case
    d.needs_holder()
    d.text("reason", command.reason)
    if not case.has_contact:
        d.refuse("there is no contact")
    if not case.contact_erased:
        d.emit(e.ContactErased(reason=command.reason))
