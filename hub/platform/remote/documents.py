"""The published documents of the protocol, made from its models: JSON Schemas, and an AsyncAPI document that names them.

`python docs/generate.py` writes them into docs/protocol/; a test fails when they are not up to date. Pure.
"""

from __future__ import annotations

import ast
import inspect
import json
from typing import Any

import msgspec
import yaml
from msgspec import Struct

from hub.bus.permissions import durable_of, inbox_of, permissions_of
from hub.contract import Adapter, crosswalk, values
from hub.platform.remote import messages
from hub.platform.remote.messages import ANSWERS, ORDERS, VERSION
from hub.platform.remote.protocol import MEDIA_TYPE, type_of

_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_PLAIN: dict[str, type[Struct]] = {
    "beat": messages.Beat,
    "terms": messages.Terms,
    "contact-question": messages.Question,
    "contact-answer": messages.Answer,
}


def documents() -> dict[str, str]:
    """File name below docs/protocol/ → its text."""
    found = {}
    for name, model in _events().items():
        family, kind = name.split(".")
        found[f"schemas/{name}.json"] = _text(_event_schema(family, kind, model))
    for name, model in _PLAIN.items():
        found[f"schemas/{name}.json"] = _text(_plain_schema(name, model))
    found["asyncapi.yaml"] = "# written by docs/generate.py\n" + yaml.safe_dump(
        _asyncapi(), allow_unicode=True, sort_keys=False, width=120
    )
    return found


def kinds_table() -> str:
    """Every kind of order and answer, for the page."""
    rows = [
        f"| `{name}` | {_says(name, model)} | [{name}.json](schemas/{name}.json) |"
        for name, model in {**_events(), **_PLAIN}.items()
    ]
    return "| message | what it says | schema |\n|---|---|---|\n" + "\n".join(rows)


def permissions_table() -> str:
    """What a key may do, for the page."""
    found = permissions_of("ADAPTER")
    rows = [f"| publish | `{subject}` |" for subject in found["publish"]["allow"]]
    rows += [f"| subscribe | `{subject}` |" for subject in found["subscribe"]["allow"]]
    return "| may | subject |\n|---|---|\n" + "\n".join(rows)


def _events() -> dict[str, type[Struct]]:
    orders = {f"order.{kind.value}": model for kind, model in ORDERS.items()}
    return orders | {f"answer.{kind.value}": model for kind, model in ANSWERS.items()}


def _event_schema(family: str, kind: str, model: type[Struct]) -> dict[str, Any]:
    definitions, reference = _components(model)
    return {
        "$schema": _DRAFT,
        "$id": f"urn:city-hub:protocol:{VERSION}:{family}.{kind}",
        "title": f"{family} {kind}",
        "description": _says(f"{family}.{kind}", model),
        "type": "object",
        "required": ["specversion", "id", "source", "type", "data"],
        "properties": {
            "specversion": {"const": "1.0"},
            "id": {
                "type": "string",
                "minLength": 1,
                "maxLength": 500,
                "description": "The same when the same thing is said again: it is taken once.",
            },
            "source": {"type": "string", "minLength": 1, "maxLength": 500},
            "type": {"const": type_of(family, kind)},
            "time": {"type": "string", "format": "date-time"},
            "datacontenttype": {"const": "application/json"},
            "dataschema": {"type": "string"},
            "subject": {"type": "string", "description": "The assignment's key."},
            "traceparent": {"type": "string", "pattern": "^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$"},
            "data": reference,
        },
        "$defs": definitions,
    }


def _plain_schema(name: str, model: type[Struct]) -> dict[str, Any]:
    definitions, reference = _components(model)
    return {
        "$schema": _DRAFT,
        "$id": f"urn:city-hub:protocol:{VERSION}:{name}",
        "title": name,
        "description": _first_line(model),
        **reference,
        "$defs": definitions,
    }


def _components(model: type[Struct]) -> tuple[dict[str, Any], dict[str, Any]]:
    (reference,), definitions = msgspec.json.schema_components([model], ref_template="#/$defs/{name}")
    described = _described()
    for name, definition in definitions.items():
        for field, schema in definition.get("properties", {}).items():
            text = described.get(name, {}).get(field)
            if text is not None and "$ref" not in schema:
                schema.setdefault("description", text)
    return definitions, reference


def _described() -> dict[str, dict[str, str]]:
    """Class → field → the docstring under it, those of the base classes too."""
    own: dict[str, dict[str, str]] = {}
    for node in (node for module in (values, crosswalk, messages) for node in ast.parse(inspect.getsource(module)).body):
        if isinstance(node, ast.ClassDef):
            fields: dict[str, str] = {}
            for base in node.bases:
                fields |= own.get(getattr(base, "id", ""), {})
            for before, after in zip(node.body, node.body[1:], strict=False):
                text = after.value.value if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) else None
                if isinstance(before, ast.AnnAssign) and isinstance(before.target, ast.Name) and isinstance(text, str):
                    fields[before.target.id] = " ".join(text.split())
            own[node.name] = fields
    return own


def _asyncapi() -> dict[str, Any]:
    adapter = {"adapter": {"description": "Name of the adapter instance; the key fits no other."}}
    orders = {kind.value: _message(f"order.{kind.value}", ORDERS[kind]) for kind in ORDERS}
    answers = {kind.value: _message(f"answer.{kind.value}", ANSWERS[kind]) for kind in ANSWERS}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "City hub: adapters beside their departments",
            "version": f"{VERSION}.0.0",
            "description": "How a department's own program takes assignments from the hub and answers. See README.md.",
        },
        "defaultContentType": MEDIA_TYPE,
        "servers": {
            "hub": {
                "host": "{host}",
                "protocol": "nats",
                "description": "A URL of the credentials file.",
                "variables": {"host": {"description": "Host and port."}},
                "security": [{"$ref": "#/components/securitySchemes/nkey"}],
            }
        },
        "channels": {
            "orders": {
                "address": "order.{adapter}.{kind}.{case}.{what}",
                "description": f"Stream ORDERS, durable consumer `{durable_of('{adapter}')}`: pull by a request to "
                f"`$JS.API.CONSUMER.MSG.NEXT.ORDERS.{durable_of('{adapter}')}`, acknowledge by the reply subject of the message.",
                "parameters": {
                    **adapter,
                    "kind": {"enum": [kind.value for kind in ORDERS]},
                    "case": {"description": "Id of the case."},
                    "what": {"description": "The assignment (a1, a2, …), or the stage a notice tells."},
                },
                "messages": orders,
            },
            "answers": {
                "address": "answer.{adapter}.{kind}",
                "description": "A JetStream publish: the server's answer says that it is stored.",
                "parameters": {**adapter, "kind": {"enum": [kind.value for kind in ANSWERS]}},
                "messages": answers,
            },
            "beats": {
                "address": "beat.{adapter}",
                "parameters": adapter,
                "messages": {"beat": _message("beat", messages.Beat, "application/json")},
            },
            "contacts": {
                "address": "contact.{adapter}",
                "parameters": adapter,
                "messages": {"question": _message("contact-question", messages.Question, "application/json")},
            },
            "replies": {
                "address": None,
                "description": f"Subjects below `{inbox_of('{adapter}')}.`, named as the reply of a request.",
                "messages": {
                    "terms": _message("terms", messages.Terms, "application/json"),
                    "contact": _message("contact-answer", messages.Answer, "application/json"),
                },
            },
        },
        "operations": {
            "takeOrders": {"action": "receive", "channel": {"$ref": "#/channels/orders"}},
            "answer": {"action": "send", "channel": {"$ref": "#/channels/answers"}},
            "beat": {
                "action": "send",
                "channel": {"$ref": "#/channels/beats"},
                "reply": {
                    "channel": {"$ref": "#/channels/replies"},
                    "messages": [{"$ref": "#/channels/replies/messages/terms"}],
                },
            },
            "askForContact": {
                "action": "send",
                "channel": {"$ref": "#/channels/contacts"},
                "reply": {
                    "channel": {"$ref": "#/channels/replies"},
                    "messages": [{"$ref": "#/channels/replies/messages/contact"}],
                },
            },
        },
        "components": {
            "securitySchemes": {
                "nkey": {"type": "asymmetricEncryption", "description": "NKey user: sign the server's nonce with the seed."}
            }
        },
    }


def _message(name: str, model: type[Struct], content_type: str = MEDIA_TYPE) -> dict[str, Any]:
    return {
        "name": name,
        "contentType": content_type,
        "summary": _says(name, model),
        "payload": {
            "schemaFormat": "application/schema+json;version=draft-2020-12",
            "schema": {"$ref": f"./schemas/{name}.json"},
        },
    }


def _says(name: str, model: type[Struct]) -> str:
    """A message's description. An order has that of the contract's method by its name."""
    family, _, kind = name.partition(".")
    return _first_line(getattr(Adapter, kind) if family == "order" else model)


def _first_line(one: object) -> str:
    return (inspect.getdoc(one) or "").split("\n")[0]


def _text(schema: dict[str, Any]) -> str:
    return json.dumps(schema, ensure_ascii=False, indent=2) + "\n"
