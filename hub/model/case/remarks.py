"""Commands that change no stage: remarks, files, and the reporter's contact. Pure. Called by `decide`."""

from __future__ import annotations

from typing import Final

from hub.model.aggregate import Command
from hub.model.assignments.work import check_file
from hub.model.bykind import ByKind
from hub.model.case import commands as c
from hub.model.case import events as e
from hub.model.case import merging
from hub.model.case.deciding import CaseDeciding
from hub.model.case.state import Case

DECIDES: Final[ByKind[Command]] = ByKind()
"""Which rule decides each command here."""


@DECIDES.on(c.Comment)
def comment(d: CaseDeciding, command: c.Comment) -> None:
    """A remark; also on a case that has ended."""
    d.needs_voice()
    d.emit(e.Commented(text=d.text("text", command.text)))
    merging.pass_on(d)


@DECIDES.on(c.Attach)
def attach(d: CaseDeciding, command: c.Attach) -> None:
    """A file; also on an ended case. The same file counts once. After an erasure it counts anew, because the reporter's own are gone."""
    d.needs_voice()
    check_file(command.attachment, "attachment")
    if command.attachment not in d.state.attachments or d.state.contact_erased:
        d.emit(e.Attached(attachment=command.attachment, note=command.note))
        merging.pass_on(d)


@DECIDES.on(c.AccessContact)
def access_contact(d: CaseDeciding, command: c.AccessContact) -> None:
    """Somebody is about to read the contact: those who hold the case, and units that owe something on it."""
    case = d.state
    if not d.steers and not any(item.unit == d.actor.unit and item.state.open for item in case.assignments):
        d.refuse("only those who hold the case or owe something on it may read the contact")
    d.text("by", command.by)
    d.text("purpose", command.purpose)
    if not case.has_contact or case.contact_erased:
        d.refuse("there is no contact")
    d.emit(e.ContactAccessed(by=command.by, purpose=command.purpose, fields=command.fields))


def contact_access(case: Case, by: str, purpose: str) -> c.AccessContact | None:
    """The command to commit before anybody reads the contact. None when there is no contact."""
    if not case.has_contact or case.contact_erased:
        return None
    return c.AccessContact(by=by, purpose=purpose, fields=("name", "phone", "address"))


@DECIDES.on(c.EraseContact)
def erase_contact(d: CaseDeciding, command: c.EraseContact) -> None:
    """Nobody gets the contact any more; a reaction destroys its key. Once."""
    case = d.state
    d.needs_holder()
    d.text("reason", command.reason)
    if not case.has_contact:
        d.refuse("there is no contact")
    if not case.contact_erased:
        d.emit(e.ContactErased(reason=command.reason))


@DECIDES.on(c.RecordDestroyed)
def destroyed(d: CaseDeciding, command: c.RecordDestroyed) -> None:
    """The key is gone, and these files."""
    d.needs_hub()
    if d.state.contact_erased:
        d.emit(e.ContactDestroyed(files=command.files))
