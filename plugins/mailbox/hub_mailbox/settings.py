"""Settings of one mailbox: two servers, who may report, which words mean what. Refuses what would let anybody close cases."""

from __future__ import annotations

import ipaddress
import re
import ssl
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, FilePath, SecretStr, field_validator, model_validator

from hub import AdapterSettings, FeedbackKind

Security = Literal["tls", "starttls", "none"]

WORDS: dict[str, FeedbackKind] = {
    "已受理": FeedbackKind.ACCEPTED,
    "受理": FeedbackKind.ACCEPTED,
    "已签收": FeedbackKind.ACCEPTED,
    "签收": FeedbackKind.ACCEPTED,
    "已接单": FeedbackKind.ACCEPTED,
    "接单": FeedbackKind.ACCEPTED,
    "收到": FeedbackKind.ACCEPTED,
    "处理中": FeedbackKind.PROGRESS,
    "办理中": FeedbackKind.PROGRESS,
    "正在处理": FeedbackKind.PROGRESS,
    "正在办理": FeedbackKind.PROGRESS,
    "进展": FeedbackKind.PROGRESS,
    "已办结": FeedbackKind.RESOLVED,
    "办结": FeedbackKind.RESOLVED,
    "已处理完毕": FeedbackKind.RESOLVED,
    "处理完毕": FeedbackKind.RESOLVED,
    "已完成": FeedbackKind.RESOLVED,
    "已解决": FeedbackKind.RESOLVED,
    "退回": FeedbackKind.RETURNED,
    "退单": FeedbackKind.RETURNED,
    "不予受理": FeedbackKind.RETURNED,
    "不受理": FeedbackKind.RETURNED,
}
"""What a reply begins with → what it reports; the longest that fits counts."""

_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
_DOMAIN = re.compile(r"@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")


class Server(BaseModel):
    """One mail server and how we speak with it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = Field(min_length=1, description="Name of the server.")
    port: int = Field(ge=1, le=65535, description="465 or 993 with tls; 587 or 143 with starttls.")
    security: Security = Field(
        "tls", description="tls from the first byte, starttls (required, never skipped), none on loopback only."
    )
    username: str = Field(min_length=1, description="Account.")
    password: SecretStr = Field(description="Password or authorisation code 授权码.")
    ca_file: FilePath | None = Field(None, description="PEM file of a private certificate authority; empty: the system's.")

    @model_validator(mode="after")
    def _private(self) -> Self:
        if self.security == "none" and not _is_loopback(self.host):
            raise ValueError("security none sends the password in the clear; it is allowed on loopback only")
        return self

    def tls_context(self) -> ssl.SSLContext:
        """Certificates and the server's name are checked. Raises OSError when `ca_file` can't be read."""
        return ssl.create_default_context(cafile=str(self.ca_file) if self.ca_file else None)


class MailboxSettings(AdapterSettings):
    """Settings of one department that is reached by e-mail."""

    smtp: Server = Field(description="Where mail goes out.")
    imap: Server = Field(description="Where replies come in.")
    address: str = Field(description="Our own address; replies come to it.")
    display_name: str = Field("城市运行管理中心", max_length=60, description="Name shown beside our address.")
    to: str | None = Field(None, description="The department's address for units that `units` doesn't name.")
    units: dict[str, str] = Field(
        default_factory=dict, description="Unit code → address; without `to`, other units are refused."
    )
    cc: tuple[str, ...] = Field((), max_length=10, description="Addresses that get a copy of every mail.")
    senders: tuple[str, ...] = Field(
        min_length=1, description="Who may report: addresses, or `@domain` for everybody of a domain (not of its subdomains)."
    )
    authenticated_by: str | None = Field(
        None,
        description="Name our receiving server puts into Authentication-Results (RFC 8601); its SPF, DKIM or DMARC must pass.",
    )
    trust_from: bool = Field(
        False, description="Believe From without such results: only for a closed mail system nobody outside can send to."
    )
    words: dict[str, FeedbackKind] = Field(
        default_factory=dict,
        description="Words a reply begins with → what it reports; before the crosswalk's and the built-in ones.",
    )
    inbox: str = Field("INBOX", min_length=1, max_length=200, description="Folder the replies are in.")
    proof: Literal["copy", "sent", "none"] = Field(
        "copy",
        description="How a lost answer is settled: a copy to our own address, the provider's folder of sent mail, or an operator.",
    )
    sent_folder: str = Field("Sent Messages", min_length=1, max_length=200, description="That folder's name, with proof sent.")
    settle_seconds: int = Field(
        120, ge=0, le=3600, description="After a lost answer: how long a missing copy may still turn up."
    )
    timeout: float = Field(
        8.0, gt=0, le=30, description="Seconds for getting ready to send, for sending, and for one step of reading."
    )
    batch: int = Field(50, ge=1, le=500, description="Mails looked at by one poll.")
    message_max_bytes: int = Field(25 * 2**20, ge=2**16, le=50 * 2**20, description="Of a larger mail only the text is read.")
    attachment_max_bytes: int = Field(
        10 * 2**20, ge=1, le=10 * 2**20, description="A larger attachment is left in the mailbox."
    )
    attachments_max: int = Field(10, ge=0, le=50, description="Most attachments taken from one mail.")

    @field_validator("address", "to")
    @classmethod
    def _one_address(cls, value: str | None) -> str | None:
        return None if value is None else _checked(value)

    @field_validator("cc")
    @classmethod
    def _addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(_checked, value))

    @field_validator("units")
    @classmethod
    def _unit_addresses(cls, value: dict[str, str]) -> dict[str, str]:
        return {unit: _checked(address) for unit, address in value.items()}

    @field_validator("senders")
    @classmethod
    def _sender_patterns(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for item in value:
            if not (_ADDRESS.fullmatch(item) or _DOMAIN.fullmatch(item)):
                raise ValueError(f"neither an address nor @domain: {item}")
        return tuple(item.lower() for item in value)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.authenticated_by is None and not self.trust_from:
            raise ValueError("set authenticated_by, or trust_from for a closed mail system: else anybody could close cases")
        if self.to is None and not self.units:
            raise ValueError("set to or units: there is nobody to write to")
        own = self.address.lower()
        if own in self.senders or "@" + own.partition("@")[2] in self.senders:
            raise ValueError("senders must not hold our own address: our mails would count as replies")
        return self

    def recipient(self, unit: str) -> str | None:
        """The address for a unit's assignments, or None."""
        return self.units.get(unit, self.to)


def _checked(value: str) -> str:
    if not _ADDRESS.fullmatch(value):
        raise ValueError(f"not a plain address: {value}")
    return value


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
