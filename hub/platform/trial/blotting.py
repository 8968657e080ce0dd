"""Blots out of an exchange: secrets in every form they travel in, anything that looks like one, personal data.

A secret of the settings is struck out wherever it stands: as it is, percent-encoded, escaped for JSON or XML, in hex, and inside base64
with anything around it. A value under a secret's name (a header, field, element or parameter), such as a session or a signature, is struck
out. From then on it is known as a secret too. Personal data is masked as in the hub's logs.
"""

from __future__ import annotations

import base64
import binascii
import html
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import parse_qsl, quote, quote_plus, urlencode, urlsplit, urlunsplit

from hub.observing.logs import redact_text
from hub.platform.trial.bodies import Parsed, parse
from hub.platform.trial.values import Body

STRUCK = "***"
_LEAST = 4
"""A secret below this length is not searched for: it would strike out half of everything."""
_LEAST_LEARNT = 8
_LEAST_CORE = 8
"""Characters of base64 that identify a secret."""
SECRET_NAME = re.compile(
    r"pass(?:word|wd|phrase)|^pass$|^pwd$|secret|token(?![-_]?(?:type|ur[li]|endpoint|expir))|api[-_]?key|app[-_]?key|access[-_]?key|private[-_]?key|credential|signature"
    r"|^sign$|^sig$|[-_]sign?$|hmac|digest|nonce|cookie|^auth$|^auth[-_]|^x-auth|authorization|session[-_]?id|^jsessionid$|^sid$",
    re.IGNORECASE,
)
"""Names under which secrets travel."""
_NOT_SECRET = frozenset({"token_type", "token_url", "token_endpoint"})
_ELEMENT = re.compile(r"(<(?:[\w.-]+:)?(?P<name>[\w.-]+)(?:\s[^<>]*)?>)(?P<value>(?:<!\[CDATA\[[^<>]*\]\]>|[^<>])+)(?=</)")
_ATTRIBUTE = re.compile(r"(?<=\s)(?P<name>[\w:.-]+)(?P<sign>\s*=\s*)(?P<quote>[\"'])(?P<value>[^\"'<>]*)(?P=quote)")


class Blotter:
    """Strikes out. `learn_*` first over everything that is to be shown, then show."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._forms: set[str] = set()
        self._pattern: re.Pattern[str] | None = None
        for secret in secrets:
            if len(secret) >= _LEAST:
                self._forms |= forms_of(secret)

    def add(self, values: Iterable[str]) -> None:
        """These are to be struck out too, e.g. a contact's."""
        for value in values:
            self._forms |= forms_of(value) if len(value) >= _LEAST else {value} if len(value) > 1 else set()
        self._pattern = None

    def learn(self, value: object) -> None:
        """From now on this is a secret."""
        text = str(value).strip() if isinstance(value, str | int) and not isinstance(value, bool) else ""
        if len(text) >= _LEAST_LEARNT and STRUCK not in text and text not in self._forms:
            self._forms |= forms_of(text)
            self._pattern = None

    def learn_headers(self, headers: Iterable[tuple[str, str]]) -> None:
        """Learn what stands in headers with a secret's name."""
        for name, value in headers:
            if not names_secret(name):
                continue
            if name.lower() in ("cookie", "set-cookie"):
                for pair in value.split(";")[: 1 if name.lower() == "set-cookie" else None]:
                    self.learn(pair.partition("=")[2])
            elif name.lower().endswith("authorization"):
                self.learn(value.partition(" ")[2])
                self.learn(_password_of(value))
            else:
                self.learn(value)

    def learn_url(self, url: str) -> None:
        """Learn from the query and the user part."""
        parts = urlsplit(url)
        self.learn(parts.password or "")
        for name, value in parse_qsl(parts.query, keep_blank_values=True):
            if names_secret(name):
                self.learn(value)

    def learn_body(self, raw: bytes, media_type: str) -> None:
        """Learn from fields, elements and attributes with a secret's name."""
        found = parse(raw, media_type)
        if found.kind == "xml":
            for match in _ELEMENT.finditer(found.content):
                if names_secret(match["name"]):
                    self.learn(html.unescape(match["value"]).removeprefix("<![CDATA[").removesuffix("]]>"))
            for match in _ATTRIBUTE.finditer(found.content):
                if names_secret(match["name"]):
                    self.learn(html.unescape(match["value"]))
        elif found.kind in ("json", "form"):
            self._learn_value(found.content, secret=False)

    def _learn_value(self, value: object, *, secret: bool) -> None:
        if isinstance(value, Mapping):
            for name, inner in value.items():
                self._learn_value(inner, secret=secret or names_secret(str(name)))
        elif isinstance(value, list):
            for inner in value:
                self._learn_value(inner, secret=secret)
        elif secret:
            self.learn(value)

    def text(self, text: str) -> str:
        """Running text, an address, a file."""
        return redact_text(self.struck(text))

    def struck(self, text: str) -> str:
        """Without the known secrets; personal data stays."""
        if self._pattern is None:
            longest_first = sorted(self._forms, key=lambda form: (-len(form), form))
            self._pattern = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")
        return self._pattern.sub(STRUCK, text)

    def value(self, value: Any, name: str = "") -> Any:
        """JSON-ready values, nested ones too. A value under a secret's name is struck out whole."""
        if name and names_secret(name) and isinstance(value, str | int | float) and not isinstance(value, bool):
            return STRUCK
        match value:
            case str():
                return self.text(value)
            case Mapping():
                secret = name if names_secret(name) else ""
                return {self.text(str(key)): self.value(inner, secret or str(key)) for key, inner in value.items()}
            case list() | tuple() | set() | frozenset():
                return [self.value(inner, name) for inner in value]
            case bool() | None | float():
                return value
            case int():
                blotted = self.text(str(value))
                return value if blotted == str(value) else blotted
            case _:
                return self.text(str(value))

    def headers(self, headers: Iterable[tuple[str, str]]) -> dict[str, str]:
        """Names in lower case; those that come several times in one line."""
        shown: dict[str, str] = {}
        for name, value in headers:
            name = name.lower()
            blotted = self._header(name, value)
            shown[name] = f"{shown[name]}, {blotted}" if name in shown else blotted
        return shown

    def _header(self, name: str, value: str) -> str:
        if name.endswith("authorization"):
            scheme, space, _ = value.partition(" ")
            return f"{scheme} {STRUCK}" if space else STRUCK
        if name in ("cookie", "set-cookie"):
            return f"{value.partition('=')[0]}={STRUCK}"
        return STRUCK if names_secret(name) else self.text(value)

    def url(self, url: str) -> str:
        """Without the user part; parameters with a secret's name struck out."""
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        query = parts.query
        if query:
            pairs = parse_qsl(query, keep_blank_values=True)
            query = urlencode([(name, self.value(value, name)) for name, value in pairs], safe="*:/@,")
        return urlunsplit((parts.scheme, host, self.text(parts.path), self.text(query), ""))

    def body(self, raw: bytes, media_type: str) -> Body:
        """A body as it may be shown."""
        found = parse(raw, media_type)
        return Body(size=len(raw), kind=found.kind, content=self._content(found), encoding=found.encoding)

    def _content(self, found: Parsed) -> Any:
        match found.kind:
            case "json" | "form" | "multipart":
                return self.value(found.content)
            case "xml":
                struck = _ELEMENT.sub(lambda m: m[1] + STRUCK if names_secret(m["name"]) else m[0], found.content)
                struck = _ATTRIBUTE.sub(
                    lambda m: f"{m['name']}{m['sign']}{m['quote']}{STRUCK}{m['quote']}" if names_secret(m["name"]) else m[0],
                    struck,
                )
                return self.text(struck)
            case "text":
                return self.text(found.content)
            case "binary":
                plain = base64.b64decode(found.content).decode("latin-1")
                return found.content if self.struck(plain) == plain else None
            case _:
                return None


def names_secret(name: str) -> bool:
    """Whether secrets travel under a name."""
    return SECRET_NAME.search(name) is not None and name.lower() not in _NOT_SECRET


def forms_of(secret: str) -> set[str]:
    """Every form in which a secret may stand in a request or an answer."""
    raw = secret.encode()
    forms = {
        secret,
        quote(secret, safe=""),
        quote(secret),
        quote_plus(secret),
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        html.escape(secret),
        html.escape(secret, quote=False),
        raw.hex(),
        raw.hex().upper(),
    }
    forms |= {re.sub("%[0-9A-F]{2}", lambda m: m[0].lower(), form) for form in forms}
    for alphabet in (base64.b64encode, base64.urlsafe_b64encode):
        whole = alphabet(raw).decode()
        forms |= {whole, whole.rstrip("=")}
        for before in range(3):  # what stands before it shifts the groups of three bytes
            shifted = alphabet(b"\0" * before + raw).decode()
            start = (0, 2, 3)[before]
            end = len(shifted) - (0, 3, 2)[(before + len(raw)) % 3]
            if end - start >= _LEAST_CORE:
                forms.add(shifted[start:end])
    if secret.startswith("whsec_") and len(secret) - 6 >= _LEAST:
        forms |= forms_of(secret.removeprefix("whsec_"))
    return {form for form in forms if len(form) >= _LEAST}


def _password_of(authorization: str) -> str:
    scheme, _, rest = authorization.partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(rest, validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return ""
