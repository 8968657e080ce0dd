"""Who may report: the From address must be configured, and our own receiving server must have found it genuine. Pure.

Only the topmost Authentication-Results (RFC 8601) with our server's name counts: our server writes it above whatever came in, and
removes forged ones with its own name (RFC 8601, 5). It must say dmarc=pass, or dkim=pass or spf=pass for the very domain of From.
"""

from __future__ import annotations

from email.message import Message
from email.utils import getaddresses

_MOST_FROM = 2000
"""Characters of a From that is looked at; a longer one is nobody's."""


def sender_of(message: Message) -> str | None:
    """The one address in From, in lower case; None when there is none or more than one (RFC 5322 allows several, we don't)."""
    lines = message.get_all("From") or []
    if len(lines) != 1 or len(str(lines[0])) > _MOST_FROM:
        return None
    try:
        addresses = [address for _, address in getaddresses([str(lines[0])])]
    except RecursionError:  # comments in comments, by somebody who wants the mailbox to stand still
        return None
    if len(addresses) != 1 or addresses[0].count("@") != 1:
        return None
    return addresses[0].lower()


def is_allowed(sender: str, allowed: tuple[str, ...]) -> bool:
    """Whether an address is configured, itself or by its domain."""
    return sender in allowed or "@" + sender.partition("@")[2] in allowed


def why_not_genuine(message: Message, sender: str, server: str | None) -> str | None:
    """Why the sender can't be believed, or None when our receiving `server` vouches for it (or, None, nobody has to)."""
    if server is None:
        return None
    for line in message.get_all("Authentication-Results") or []:
        name, *results = (part.split() for part in _bare(str(line)).split(";"))
        if not name or name[0].lower() != server.lower():
            continue
        if any(_vouches(result, sender.partition("@")[2]) for result in results):
            return None
        return "neither SPF, DKIM nor DMARC passed for the sender's domain"
    return "no Authentication-Results of our receiving server"


def _vouches(words: list[str], domain: str) -> bool:
    """Whether one result, e.g. `dkim=pass header.d=example.gov.cn`, proves `domain`; the method is its first word."""
    if not words:
        return False
    properties = {name: value for name, _, value in (word.lower().partition("=") for word in words[1:])}
    match words[0].lower():
        case "dmarc=pass":
            proved = properties.get("header.from", "")
        case "dkim=pass":
            proved = properties.get("header.d") or properties.get("header.i", "")
        case "spf=pass":
            proved = properties.get("smtp.mailfrom", "")
        case _:
            return False
    return proved.rpartition("@")[2].rstrip(".") == domain


def _bare(line: str) -> str:
    """Without comments and quoted strings: both can hold a sender's own words, `;` and `dkim=pass` among them."""
    kept: list[str] = []
    depth, quoted, escaped = 0, False, False
    for character in line:
        if escaped:
            escaped = False
        elif character == "\\":
            escaped = True
        elif quoted:
            quoted = character != '"'
        elif character == '"' and depth == 0:
            quoted = True
        elif character == "(":
            depth += 1
        elif character == ")":
            depth = max(0, depth - 1)
        elif depth == 0:
            kept.append(character)
            continue
        if depth == 0 and not quoted:
            kept.append(" " if character == ")" else "?")
    return "".join(kept)
