"""The server's side of the incident interface: reading requests, checking the caller, writing answers and faults.

Hand-written with lxml; used by the simulator. Raises SoapFault with what the caller is told.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

from lxml import etree

from hub_police.soap import NAMESPACE, UnsafeXml, check_xml

SOAP = "http://schemas.xmlsoap.org/soap/envelope/"
_WSS = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity"
WSSE = f"{_WSS}-secext-1.0.xsd"
WSU = f"{_WSS}-utility-1.0.xsd"
_WINDOW = timedelta(minutes=5)
_NAMES = {"soap": SOAP, "wsse": WSSE, "wsu": WSU, "p": NAMESPACE}

Fields = Mapping[str, str | None]


class SoapFault(Exception):
    """What is answered instead of a result. `code` is a QName such as `soap:Client`; `refusal` the declared fault (code, reason)."""

    def __init__(self, code: str, text: str, *, refusal: tuple[str, str] | None = None) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.refusal = refusal


def read_request(body: bytes, *, password: str, now: datetime) -> etree._Element:
    """The operation's element of an authenticated envelope; raises SoapFault."""
    try:
        check_xml(body)
        parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
        envelope = etree.fromstring(body, parser)
    except (UnsafeXml, etree.XMLSyntaxError) as error:
        raise SoapFault("soap:Client", "报文格式错误") from error
    content = envelope.find("soap:Body", _NAMES)
    if envelope.tag != f"{{{SOAP}}}Envelope" or content is None or len(content) != 1:
        raise SoapFault("soap:Client", "不是SOAP报文")
    if not _authentic(envelope, password, now):
        raise SoapFault("wsse:FailedAuthentication", "身份校验失败")
    operation = content[0]
    if not isinstance(operation.tag, str) or etree.QName(operation).namespace != NAMESPACE:
        raise SoapFault("soap:Client", "未知的操作")
    return operation


def text_of(parent: etree._Element, path: str) -> str:
    """Text of a required field, given as `incident/reference`; raises SoapFault when it is missing."""
    found = parent.find("/".join(f"p:{step}" for step in path.split("/")), _NAMES)
    if found is None or not (found.text or "").strip():
        raise SoapFault("soap:Client", f"缺少字段 {path}")
    return (found.text or "").strip()


def fields_of(parent: etree._Element) -> dict[str, object]:
    """All fields below an element as nested dicts."""
    return {
        etree.QName(child).localname: fields_of(child) if len(child) else (child.text or "")
        for child in parent
        if isinstance(child.tag, str)
    }


def answer(operation: str, fields: Fields, lists: Iterable[tuple[str, Fields]] = ()) -> bytes:
    """An envelope with `<operation>Response`: the listed elements first, then the fields that are set."""
    envelope, body = _envelope()
    result = etree.SubElement(body, f"{{{NAMESPACE}}}{operation}Response")
    for name, entries in lists:
        _fill(etree.SubElement(result, f"{{{NAMESPACE}}}{name}"), entries)
    _fill(result, fields)
    raw: bytes = etree.tostring(envelope, xml_declaration=True, encoding="UTF-8")
    return raw


def fault(problem: SoapFault) -> bytes:
    """An envelope with a fault."""
    envelope, body = _envelope()
    element = etree.SubElement(body, f"{{{SOAP}}}Fault")
    etree.SubElement(element, "faultcode").text = problem.code
    etree.SubElement(element, "faultstring").text = problem.text
    if problem.refusal is not None:
        refusal = etree.SubElement(etree.SubElement(element, "detail"), f"{{{NAMESPACE}}}Refusal")
        _fill(refusal, {"code": problem.refusal[0], "reason": problem.refusal[1]})
    raw: bytes = etree.tostring(envelope, xml_declaration=True, encoding="UTF-8")
    return raw


def _envelope() -> tuple[etree._Element, etree._Element]:
    envelope = etree.Element(f"{{{SOAP}}}Envelope", nsmap={"soap": SOAP, "wsse": WSSE, "p": NAMESPACE})
    return envelope, etree.SubElement(envelope, f"{{{SOAP}}}Body")


def _fill(parent: etree._Element, fields: Fields) -> None:
    for name, value in fields.items():
        if value is not None:
            etree.SubElement(parent, f"{{{NAMESPACE}}}{name}").text = value


def _authentic(envelope: etree._Element, password: str, now: datetime) -> bool:
    """WS-Security UsernameToken Profile 1.1: digest = base64(sha1(nonce + created + password)), not older than the window."""
    token = envelope.find("soap:Header/wsse:Security/wsse:UsernameToken", _NAMES)
    if token is None:
        return False
    digest, nonce, created = (token.findtext(name, "", _NAMES) for name in ("wsse:Password", "wsse:Nonce", "wsu:Created"))
    try:
        at = datetime.fromisoformat(created)
        raw = base64.b64decode(nonce, validate=True)
    except (ValueError, binascii.Error):
        return False
    at = at.replace(tzinfo=UTC) if at.tzinfo is None else at
    expected = base64.b64encode(hashlib.sha1(raw + created.encode() + password.encode(), usedforsecurity=False).digest())
    return abs(at - now) <= _WINDOW and hmac.compare_digest(expected, digest.encode())
