"""Rights on the bus: the hub's own account, and one for adapters that run elsewhere, each adapter with its subjects only. Pure.

Why two accounts, and not one with permissions alone: a publish may name any subject as its reply, and the server's answer there would be
stored. Tried with nats-server 2.15.1: the acknowledgement of an answer, or a pulled order, with the reply `ledger.x` became a message of
the ledger. In an account of their own such answers stay there. The account imports from the hub's the subjects that an adapter may reach.
Called by the embedded server, and to write the configuration of an operator's own server.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

HUB_ACCOUNT = "HUB"
REMOTE_ACCOUNT = "REMOTES"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_KEY = re.compile(r"U[A-Z2-7]{55}")

_EXPORTS = (
    ("$JS.API.CONSUMER.MSG.NEXT.ORDERS.*", True),
    ("$JS.ACK.ORDERS.>", False),
    ("answer.>", False),
    ("contact.*", False),
    ("beat.*", False),
)
"""What the hub's account lets the other reach: (subject, many answers to one request)."""


@dataclass(frozen=True, kw_only=True, order=True)
class RemoteUser:
    """One key of one adapter instance."""

    adapter: str
    key: str
    """Public NKey of the user, U…."""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.adapter) or not _KEY.fullmatch(self.key):
            raise ValueError(f"not a remote user: {self.adapter} {self.key}")


def durable_of(adapter: str) -> str:
    """The durable consumer of an adapter's orders."""
    return f"remote-{adapter}"


def inbox_of(adapter: str) -> str:
    """The prefix of all reply subjects of an adapter."""
    return f"_INBOX_{adapter}"


def permissions_of(adapter: str) -> dict[str, dict[str, list[str]]]:
    """What the users of an adapter may publish and subscribe to; everything else is refused."""
    durable = durable_of(adapter)
    publish = [
        f"$JS.API.CONSUMER.MSG.NEXT.ORDERS.{durable}",
        f"$JS.ACK.ORDERS.{durable}.>",
        f"answer.{adapter}.>",
        f"contact.{adapter}",
        f"beat.{adapter}",
    ]
    return {"publish": {"allow": publish}, "subscribe": {"allow": [f"{inbox_of(adapter)}.>"]}}


def exports_block() -> str:
    """The exports of the hub's account, as nats-server's configuration."""
    lines = [
        f"    {{ service: {json.dumps(subject)}{', response_type: stream' if many else ''} }}" for subject, many in _EXPORTS
    ]
    return "exports: [\n" + "\n".join(lines) + "\n  ]"


def users_block(users: Sequence[RemoteUser]) -> str:
    """The users of the account for remote adapters, as nats-server's configuration."""
    lines = [
        f"    {{ nkey: {user.key}, permissions: {json.dumps(permissions_of(user.adapter))} }} # {user.adapter}"
        for user in sorted(set(users))
    ]
    return "users: [\n" + "\n".join([*lines, "  ]"])


def remotes_account(users: Sequence[RemoteUser]) -> str:
    """The whole account for remote adapters. Its imports name no adapter: nats-server does not connect imports that come with a reload."""
    imports = [f"    {{ service: {{ account: {HUB_ACCOUNT}, subject: {json.dumps(subject)} }} }}" for subject, _ in _EXPORTS]
    return f"{REMOTE_ACCOUNT}: {{\n  {users_block(users)}\n  imports: [\n" + "\n".join(imports) + "\n  ]\n}"
