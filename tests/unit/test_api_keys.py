"""Departments' own keys: scopes are checked in one place, a key is never wider than what issued it, old tokens still work."""

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from hub.errors import InvalidInput
from hub.model.rights import KeyScope, Role
from hub.surfaces.api.cases.kind import CASE_KIND
from hub.surfaces.api.people.scopes import MEANING, OF_ROLE, decided, parsed, refusal, rights_of
from hub.surfaces.api.people.tokens import Token, Tokens
from tests.unit.api_world import STREET, MemoryBucket, World

NOW = datetime(2026, 3, 2, 2, 0, tzinfo=UTC)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with World.make(tmp_path) as made:
        yield made


async def issue(world: World, who: str = "police", **body: object) -> httpx.Response:
    given = {"name": "工单系统", "scopes": ["cases:read", "deliveries:read"]} | body
    return await world.client.post("/keys", json=given, headers=world.as_(who))


async def made(world: World, called: str, who: str = "police", **body: object) -> dict[str, Any]:
    """A key, kept in the world under a name."""
    answer = await issue(world, who, **body)
    assert answer.status_code == 201, answer.text
    key: dict[str, Any] = answer.json()
    world.secrets[called] = key["token"]
    return key


def token(role: Role = Role.DEPARTMENT, scopes: tuple[str, ...] | None = None) -> Token:
    return Token(id="0" * 16, name="x", role=role, area="320113", issued_at=NOW, unit="police", scopes=scopes)


# issuing


async def test_department_issues_a_key_for_itself_and_sees_its_secret_once(world: World) -> None:
    key = await made(world, "key")
    assert key["unit"] == "police"
    assert key["role"] == "department"
    assert key["scopes"] == ["cases:read", "deliveries:read"]
    listed = (await world.client.get("/keys", headers=world.as_("police"))).json()["items"]
    assert {item["name"] for item in listed} == {"police", "工单系统"}
    assert key["token"] not in str(listed)
    own = next(item for item in listed if item["name"] == "police")
    assert key["issued_by"] == own["id"]


async def test_key_does_what_its_scopes_name_and_nothing_else(world: World) -> None:
    await made(world, "key")
    headers = world.as_("key")
    assert (await world.client.get("/cases", headers=headers)).status_code == 200
    assert (await world.client.get("/deliveries", headers=headers)).status_code == 200
    me = (await world.client.get("/me", headers=headers)).json()
    assert me["scopes"] == ["cases:read", "deliveries:read"]
    assert me["commands"] == []
    assert "accept" in (await world.client.get("/me", headers=world.as_("police"))).json()["commands"]
    refused = await world.client.get("/keys", headers=headers)
    assert refused.status_code == 403
    assert refused.json()["detail"] == "The key does not have the scope keys."
    for method, path in (("POST", "/cases"), ("GET", "/policy"), ("GET", "/tokens"), ("GET", "/adapters")):
        assert (await world.client.request(method, path, json={}, headers=headers)).status_code == 403


async def test_key_is_never_wider_than_what_issued_it(world: World) -> None:
    await made(world, "narrow", scopes=["keys", "cases:read"])
    wider = await issue(world, "narrow", scopes=["cases:read", "feedback:write"])
    assert wider.status_code == 422
    assert wider.json()["errors"][0] == {"field": "scopes", "message": "wider than your own token: feedback:write"}
    assert (await issue(world, "narrow", scopes=["cases:read"])).status_code == 201
    other = await issue(world, "narrow", scopes=["cases:read"], unit="property")
    assert other.json()["errors"][0]["field"] == "unit"


async def test_key_does_not_outlive_what_issued_it(world: World) -> None:
    soon = datetime.now(UTC) + timedelta(hours=2)
    await made(world, "short", scopes=["keys", "cases:read"], expires_at=soon.isoformat())
    child = await made(world, "child", "short", scopes=["cases:read"])
    assert datetime.fromisoformat(child["expires_at"]) == soon
    late = await issue(world, "short", scopes=["cases:read"], expires_at=(soon + timedelta(minutes=1)).isoformat())
    assert late.json()["errors"][0]["field"] == "expires_at"
    past = await issue(world, scopes=["cases:read"], expires_at="2020-01-01T00:00:00Z")
    assert past.json()["errors"][0]["field"] == "expires_at"


@pytest.mark.parametrize("body", [{"scopes": []}, {"scopes": ["all"]}, {"name": " "}, {"role": "admin"}])
async def test_key_that_makes_no_sense_is_refused(world: World, body: dict[str, object]) -> None:
    assert (await issue(world, **body)).status_code == 422


@pytest.mark.parametrize("who", ["viewer", "street", "devops"])
async def test_other_roles_keep_no_keys(world: World, who: str) -> None:
    assert (await issue(world, who)).status_code == 403
    assert (await world.client.get("/keys", headers=world.as_(who))).status_code == 403


async def test_administrator_issues_keys_for_a_named_department(world: World) -> None:
    assert (await issue(world, "admin")).json()["errors"][0]["field"] == "unit"
    assert (await issue(world, "admin", unit=STREET)).json()["errors"][0]["field"] == "unit"
    key = await made(world, "key", "admin", unit="property")
    assert key["unit"] == "property"
    listed = await world.client.get("/keys?unit=property", headers=world.as_("admin"))
    assert {item["name"] for item in listed.json()["items"]} == {"property", "工单系统"}


# revoking


async def test_revoked_key_is_useless_at_once(world: World) -> None:
    key = await made(world, "key")
    assert (await world.client.delete(f"/keys/{key['id']}", headers=world.as_("police"))).status_code == 204
    assert (await world.client.get("/cases", headers=world.as_("key"))).status_code == 401


async def test_department_does_not_see_or_revoke_another_departments_keys(world: World) -> None:
    key = await made(world, "key")
    listed = (await world.client.get("/keys", headers=world.as_("property"))).json()["items"]
    assert [item["name"] for item in listed] == ["property"]
    assert (await world.client.delete(f"/keys/{key['id']}", headers=world.as_("property"))).status_code == 404
    assert (await world.client.get("/cases", headers=world.as_("key"))).status_code == 200


async def test_narrow_key_can_not_revoke_a_wider_one(world: World) -> None:
    await made(world, "narrow", scopes=["keys", "cases:read"])
    listed = (await world.client.get("/keys", headers=world.as_("narrow"))).json()["items"]
    root = next(item for item in listed if item["name"] == "police")
    assert (await world.client.delete(f"/keys/{root['id']}", headers=world.as_("narrow"))).status_code == 404
    assert (await world.client.get("/me", headers=world.as_("police"))).status_code == 200


async def test_leaked_key_is_revoked_with_all_it_issued(world: World) -> None:
    leaked = await made(world, "leaked", scopes=["keys", "cases:read"])
    await made(world, "child", "leaked", scopes=["keys", "cases:read"])
    await made(world, "grandchild", "child", scopes=["cases:read"])
    await made(world, "other", scopes=["cases:read"])
    answer = await world.client.delete(f"/keys/{leaked['id']}?issued=true", headers=world.as_("police"))
    assert answer.status_code == 204
    for called, status in (("leaked", 401), ("child", 401), ("grandchild", 401), ("other", 200), ("police", 200)):
        assert (await world.client.get("/me", headers=world.as_(called))).status_code == status


# tokens


async def test_administrator_narrows_any_token_by_scopes(world: World) -> None:
    body = {"name": "大屏", "role": "operator", "scopes": ["cases:read"], "expires_at": "2099-01-01T00:00:00Z"}
    answer = await world.client.post("/tokens", json=body, headers=world.as_("admin"))
    assert answer.status_code == 201, answer.text
    world.secrets["screen"] = answer.json()["token"]
    assert (await world.client.get("/summary", headers=world.as_("screen"))).status_code == 200
    assert (await world.client.get("/adapters", headers=world.as_("screen"))).status_code == 403
    assert (await world.client.get("/tokens", headers=world.as_("admin"))).json()["items"][-1]["scopes"] == ["cases:read"]


async def test_tokens_stored_by_earlier_versions_still_decode() -> None:
    bucket = MemoryBucket()
    tokens = Tokens(bucket, now=lambda: NOW)
    secret, _ = await tokens.issue(name="x", role="department", unit="police", area="320113")
    (digest,) = await bucket.entries()
    old = {"id": digest[:16], "name": "x", "role": "department", "area": "320113",
           "issued_at": "2025-01-01T00:00:00Z", "unit": "police"}  # fmt: skip
    await bucket.put(digest, msgspec.json.encode(old))
    found = await Tokens(bucket, now=lambda: NOW).find(secret)
    assert found is not None
    assert found.scopes is None
    assert rights_of(found) == OF_ROLE[Role.DEPARTMENT]


async def test_expired_token_is_not_found_though_it_is_remembered() -> None:
    at = [NOW]
    tokens = Tokens(MemoryBucket(), clock=lambda: 0.0, now=lambda: at[0])
    until = NOW + timedelta(minutes=5)
    secret, made = await tokens.issue(name="x", role="viewer", unit=None, area="320113", expires_at=until)
    assert await tokens.find(secret) is not None
    assert await tokens.holds(made.id)
    at[0] = until
    assert await tokens.find(secret) is None
    assert not await tokens.holds(made.id)


async def test_use_is_noted_once_an_hour_and_never_revives_a_revoked_token() -> None:
    class Counting(MemoryBucket):
        writes = 0

        async def update(self, key: str, value: bytes, revision: int) -> int:
            self.writes += 1
            return await super().update(key, value, revision)

    bucket, at, ticks = Counting(), [NOW], [0.0]
    tokens = Tokens(bucket, clock=lambda: ticks[0], now=lambda: at[0])
    secret, made = await tokens.issue(name="x", role="viewer", unit=None, area="320113")
    for minutes in (0, 10, 59, 61, 70):
        at[0], ticks[0] = NOW + timedelta(minutes=minutes), minutes * 60.0
        assert await tokens.find(secret) is not None
    assert bucket.writes == 2
    assert (await tokens.list())[0].last_used_at == NOW + timedelta(minutes=61)
    await tokens.revoke(made.id)
    assert await tokens.find(secret) is None
    assert await bucket.entries() == {}


# the table of scopes


def test_every_scope_is_explained_and_every_role_has_its_own() -> None:
    assert set(MEANING) == set(KeyScope)
    assert set(OF_ROLE) == set(Role)


def test_scopes_beyond_the_role_give_nothing() -> None:
    assert rights_of(token(Role.VIEWER, ("cases:read", "keys"))) == {KeyScope.CASES_READ}


def test_unknown_scope_is_named() -> None:
    with pytest.raises(InvalidInput, match="no such scope: everything"):
        parsed(["cases:read", "everything"])
    assert parsed(["keys", "cases:read", "keys"]) == (KeyScope.CASES_READ, KeyScope.KEYS)


def test_tokens_without_scopes_are_left_to_their_role() -> None:
    assert refusal(token(), "DELETE", "/api/v1/anything", (CASE_KIND,)) is None


async def test_every_route_was_decided_about(world: World) -> None:
    """A new route belongs into one of the two tables of hub/surfaces/api/people/scopes.py."""
    undecided = [
        f"{method.upper()} {path}"
        for path, methods in world.app.openapi()["paths"].items()
        for method in methods
        if path.startswith("/api/v1/") and not decided(method.upper(), re.sub(r"\{[^}]+\}", "x", path), (CASE_KIND,))
    ]
    assert undecided == []


async def test_administrator_issues_nothing_that_outlives_the_own_token(world: World) -> None:
    soon = datetime.now(UTC) + timedelta(hours=1)
    body = {"name": "承包商", "role": "admin", "expires_at": soon.isoformat()}
    made_for = (await world.client.post("/tokens", json=body, headers=world.as_("admin"))).json()
    headers = {"Authorization": f"Bearer {made_for['token']}"}
    key = {"name": "k", "scopes": ["cases:read"], "unit": "police"}
    for path, given in (("/tokens", {"name": "x", "role": "viewer"}), ("/keys", key)):
        child = await world.client.post(path, json=given, headers=headers)
        assert datetime.fromisoformat(child.json()["expires_at"]) == soon, path
        late = given | {"expires_at": "2099-01-01T00:00:00Z"}
        assert (await world.client.post(path, json=late, headers=headers)).status_code == 422, path


async def test_keys_reach_these_parts_of_the_interface_and_no_other(world: World) -> None:
    """Steering cases, running and administrating the hub are closed to them, and so is every route nobody decided about."""
    everything = token(scopes=tuple(KeyScope))
    opened = set()
    for path, methods in world.app.openapi()["paths"].items():
        for method in methods:
            concrete = re.sub(r"\{[^}]+\}", "x", path)
            if concrete.startswith("/api/v1/") and refusal(everything, method.upper(), concrete, (CASE_KIND,)) is None:
                opened.add(f"{method.upper()} {concrete.removeprefix('/api/v1')}")
    assert opened == {
        *(f"GET /{name}" for name in ("me", "cases", "areas", "units", "summary", "changes", "deliveries", "keys")),
        *(f"GET /cases/x{part}" for part in ("", "/timeline", "/trace", "/contact")),
        "GET /attachments/x",
        "POST /cases",
        *(f"POST /cases/x/{name}" for name in ("accept", "progress", "resolve", "return", "comment", "ask", "attachments")),
        "GET /deliveries/x",
        "GET /repairs",
        "GET /repairs/x",
        "POST /deliveries/x/resend",
        "POST /keys",
        "DELETE /keys/x",
    }
    for scope, path in (("keys", "/keys"), ("deliveries:read", "/deliveries"), ("cases:read", "/cases")):
        assert refusal(token(scopes=(scope,)), "GET", f"/api/v1{path}", (CASE_KIND,)) is None
