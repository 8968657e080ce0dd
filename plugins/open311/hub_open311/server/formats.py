"""JSON and XML of GeoReport v2: one document, two forms by the Spark convention (lists in JSON, named items in XML). Pure.

The content types, the XML declaration and UTF-8 are the specification's ("Format Support").
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from xml.etree.ElementTree import Element, SubElement, tostring

import msgspec

Value = str | int | float | bool | None | Sequence["Value"] | Mapping[str, "Value"]

ITEMS: Mapping[str, str] = {
    "services": "service",
    "attributes": "attribute",
    "values": "value",
    "service_requests": "request",
    "service_request_updates": "request_update",
    "endpoints": "endpoint",
    "formats": "format",
    "errors": "error",
}
"""What an item of a list is called in XML."""

_UNSEEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Everything that XML 1.0 can't carry (production 2, Char)."""


class Form(StrEnum):
    """The two formats; the value is the extension in the address."""

    XML = "xml"
    JSON = "json"

    @property
    def media_type(self) -> str:
        """The content type as the specification writes it."""
        return "application/json; charset=utf-8" if self is Form.JSON else "text/xml; charset=utf-8"


def form_of(path: str, accept: str = "") -> Form:
    """The format an address asks for by its extension, else by the Accept header; XML, which is required of all, otherwise."""
    last = path.rpartition("/")[2].rpartition(".")[2].lower()
    if last in (Form.XML.value, Form.JSON.value):
        return Form(last)
    return Form.JSON if "json" in accept.lower() else Form.XML


def write(root: str, value: Value, form: Form) -> bytes:
    """A document: `root` names it in XML; in JSON only the value is written."""
    if form is Form.JSON:
        return msgspec.json.encode(value)
    element = Element(root)
    _fill(element, root, value)
    written: bytes = tostring(element, encoding="utf-8", xml_declaration=False)
    return b'<?xml version="1.0" encoding="utf-8"?>\n' + written + b"\n"


def _fill(element: Element, name: str, value: Value) -> None:
    if value is None:
        return
    if isinstance(value, bool):
        element.text = "true" if value else "false"
    elif isinstance(value, str):
        element.text = _UNSEEN.sub("", value)
    elif isinstance(value, int | float):
        element.text = str(value)
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            _fill(SubElement(element, key), key, inner)
    else:
        for inner in value:
            _fill(SubElement(element, ITEMS[name]), ITEMS[name], inner)
