"""The adapter's SOAP client: zeep builds and reads the messages, the hub's own HTTP client carries them.

zeep is used instead of hand-written XML because it checks every message against the WSDL that ships here. Its own transports are
not used: they would go round the hub's error mapping, tracing and size limit. An answer with a DTD or an entity is refused
before any parser may expand it.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Any, NoReturn

import httpx
import zeep
from defusedxml import ElementTree as SafeElementTree
from defusedxml.common import DefusedXmlException
from lxml import etree
from zeep.proxy import AsyncServiceProxy
from zeep.transports import Transport
from zeep.wsse.username import UsernameToken

from hub import PASS_STATUSES, AdapterFault, CredentialsRejected, DeliveryError, OutcomeUnknown, Refused, Unavailable

NAMESPACE = "urn:city-hub:police:incident:1"
_READS = frozenset({"FindIncident", "QueryReceipts", "ListIncidents", "ListCategories", "Ping"})
_AUTHENTICATION = ("FailedAuthentication", "InvalidSecurity", "InvalidSecurityToken")


def wsdl_path() -> str:
    """Where the interface description that ships with the plugin lies."""
    return str(files("hub_police") / "incident.wsdl")


class UnsafeXml(Exception):
    """An XML text with a DTD or entities, or one that is no XML; `args[0]` says which."""


def check_xml(text: bytes) -> None:
    """Refuse DTDs, entities, external references and what is not well-formed; raises UnsafeXml.

    expat stops at the declaration, so nothing is expanded or fetched (CVE class: billion laughs, XXE).
    """
    try:
        SafeElementTree.fromstring(text, forbid_dtd=True, forbid_entities=True, forbid_external=True)
    except DefusedXmlException as error:
        raise UnsafeXml(f"forbidden XML: {type(error).__name__}") from error
    except (SafeElementTree.ParseError, ValueError, LookupError) as error:
        raise UnsafeXml("not well-formed XML") from error


class IncidentService:
    """The police's operations as awaitable calls; raises the hub's delivery errors only."""

    def __init__(self, http: httpx.AsyncClient, *, url: str, username: str, password: str) -> None:
        token = UsernameToken(username, password, use_digest=True, zulu_timestamp=True)  # type: ignore[no-untyped-call]
        client = zeep.Client(  # type: ignore[no-untyped-call]
            wsdl_path(),
            wsse=token,
            transport=_HubTransport(http),
            settings=zeep.Settings(strict=True, forbid_dtd=True, forbid_entities=True, forbid_external=True),
        )
        binding = client.wsdl.bindings[f"{{{NAMESPACE}}}IncidentBinding"]
        self._proxy = AsyncServiceProxy(client, binding, address=url)  # type: ignore[no-untyped-call]

    async def call(self, operation: str, **arguments: Any) -> Any:
        """Call one operation of the WSDL and return its answer.

        Raises Refused for the declared refusal, CredentialsRejected, Unavailable; OutcomeUnknown when an answer to a writing
        operation was lost or can't be read (Unavailable or AdapterFault when it only reads).
        """
        try:
            return await self._proxy[operation](**arguments)
        except OutcomeUnknown as error:
            if operation in _READS:
                raise Unavailable(str(error), subject=error.subject) from error
            raise
        except zeep.exceptions.Fault as fault:
            _raise_for(fault, operation)
        except zeep.exceptions.ValidationError as error:  # our own arguments: nothing was sent
            raise AdapterFault(f"{operation}: the message does not fit the WSDL ({error.path})") from error
        except (zeep.exceptions.Error, etree.LxmlError, UnsafeXml) as error:
            raise _unreadable(operation, error) from error


class _HubTransport(Transport):
    """zeep's transport over the hub's client; only reads the WSDL from the package itself."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._http = http

    def _load_remote_data(self, url: str) -> NoReturn:
        raise AdapterFault("the police plugin never fetches documents by reference")

    async def post_xml(self, address: str, envelope: etree._Element, headers: dict[str, str]) -> httpx.Response:
        """Send one envelope; a 500 is an answer when it carries a SOAP fault, else the system is out of order."""
        response = await self._http.post(
            address, content=etree.tostring(envelope), headers=headers, extensions={PASS_STATUSES: {500}}
        )
        if response.status_code == 500 and b"Fault>" not in response.content:
            raise Unavailable("the police system answered 500 without a SOAP fault")
        if response.status_code not in (200, 500):
            raise AdapterFault(f"the police system answered {response.status_code}")
        check_xml(response.content)
        return response


def _raise_for(fault: zeep.exceptions.Fault, operation: str) -> NoReturn:
    """Map a SOAP fault: the declared refusal, authentication, the server's trouble, our own."""
    code = str(fault.code or "").rpartition(":")[2]
    refusal = None if fault.detail is None else fault.detail.find(f"{{{NAMESPACE}}}Refusal/{{{NAMESPACE}}}reason")
    if refusal is not None:
        raise Refused(str(refusal.text or "公安系统不予受理")[:500])
    if code in _AUTHENTICATION:
        raise CredentialsRejected("the police system rejects our credentials")
    if code == "Server":
        raise Unavailable(f"the police system failed at {operation}")
    raise AdapterFault(f"the police system does not understand {operation} ({code})")


def _unreadable(operation: str, error: Exception) -> DeliveryError:
    """An answer came and can't be read: what was to be done may have been done."""
    reason = str(error) if isinstance(error, UnsafeXml) else type(error).__name__
    text = f"the police system's answer to {operation} can't be read: {reason}"
    return AdapterFault(text) if operation in _READS else OutcomeUnknown(text)


def plain(text: str) -> str:
    """The text without characters XML 1.0 can't carry (control characters, lone surrogates)."""
    return "".join(sign for sign in text if _allowed(ord(sign)))


def _allowed(code: int) -> bool:
    """XML 1.0, production 2 (Char)."""
    return code in (0x9, 0xA, 0xD) or 0x20 <= code <= 0xD7FF or 0xE000 <= code <= 0xFFFD or code >= 0x10000
