"""The HTTP interface for the command line: the hub's address, the caller's token, and a refusal in one line.

Owns finding the hub (`--url`, `HUB_URL`, else `runtime.json` of a running one) and the token (`--token`, `HUB_TOKEN`, else `admin.token`
beside the data). Refuses with `Failure`. Its text is fit to print: it never holds a token.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlsplit

import httpx

DATA_DIRECTORIES: Final = (Path("data"), Path("demo-data"))
"""Where to look for a hub's data when no option names it: the product's default, then the demo's."""
_AGAIN: Final = (429, 502, 503, 504)
_TRIES: Final = 4


class Failure(Exception):
    """The command can't be done; the text is one line (or a few, one for each field). `status`: HTTP status, 0 without one."""

    def __init__(self, text: str, *, status: int = 0) -> None:
        super().__init__(text)
        self.text = text
        self.status = status


def find_url(url: str | None, data: Path | None) -> str:
    """The base URL of the hub. Raises Failure when it is not one, or no hub runs on the data directory."""
    if url:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise Failure(f"not an http(s) URL: {url}")
        return url.rstrip("/")
    for directory in (data,) if data is not None else DATA_DIRECTORIES:
        file = directory / "runtime.json"
        try:
            return str(json.loads(file.read_text(encoding="utf-8"))["api"]).rstrip("/")
        except FileNotFoundError:
            continue
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise Failure(f"{file} can't be read ({error}); give --url") from error
    where = data if data is not None else " or ".join(map(str, DATA_DIRECTORIES))
    raise Failure(f"no hub runs on {where}: start one with `hub up`, or give --url (HUB_URL)")


def find_token(token: str | None, data: Path | None, url: str | None = None) -> str | None:
    """The token to ask with; None when there is none (the hub then says 401).

    A token found beside data that nobody named is for the hub of this machine: it does not go to an address elsewhere.
    """
    if token:
        return token.strip()
    if data is None and url is not None and urlsplit(url).hostname not in ("127.0.0.1", "localhost", "::1"):
        return None
    for directory in (data,) if data is not None else DATA_DIRECTORIES:
        file = directory / "admin.token"
        try:
            return file.read_text(encoding="ascii").strip()
        except FileNotFoundError:
            continue
        except (OSError, UnicodeDecodeError) as error:
            raise Failure(f"{file} can't be read ({error}); give --token") from error
    return None


class HubApi:
    """One hub's interface. Requests that may be repeated (GET, and POST under its Idempotency-Key) are, for a few seconds."""

    def __init__(self, url: str, token: str | None, *, timeout: float = 30.0, pause: float = 0.3) -> None:
        self.url = url
        self._pause = pause
        headers = {"Accept": "application/json"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        self._http = httpx.Client(
            base_url=f"{url}/api/v1", headers=headers, timeout=httpx.Timeout(timeout, connect=5.0), trust_env=False
        )

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def get(self, path: str, **query: object) -> Any:
        """Read something. Parameters that are None are left out."""
        return self._ask("GET", path, params=_query(query))

    def pages(self, path: str, *, limit: int, **query: object) -> Iterator[dict[str, Any]]:
        """The items of a paged list, at most `limit` of them."""
        left, cursor = limit, None
        while left > 0:
            page = self.get(path, limit=min(left, 200), cursor=cursor, **query)
            items = items_of(page)
            yield from items[:left]
            left -= len(items)
            cursor = page.get("cursor") if isinstance(page, dict) else None
            if not cursor or not items:
                return

    def post(self, path: str, body: Mapping[str, object] | None = None, *, key: str | None = None) -> Any:
        """Do something, once however often it is sent under one key (drawn when None)."""
        return self._ask("POST", path, body=dict(body or {}), key=key or str(uuid.uuid4()))

    def post_once(self, path: str, body: Mapping[str, object], *, within: float) -> Any:
        """Start a long action, at most `within` seconds. Sent once, since a repetition would show outside."""
        return self._ask("POST", path, body=dict(body), within=within)

    def patch(self, path: str, body: Mapping[str, object]) -> Any:
        """Change something; not repeated by itself."""
        return self._ask("PATCH", path, body=dict(body))

    def upload(self, path: str, file: Path, media_type: str, fields: Mapping[str, str], *, key: str | None = None) -> Any:
        """Send a file as multipart form data. Raises Failure when it can't be read."""
        try:
            content = file.read_bytes()
        except OSError as error:
            raise Failure(f"{file}: {error.strerror}") from error
        files = {"file": (file.name, content, media_type)}
        return self._ask("POST", path, files=files, fields=fields, key=key or str(uuid.uuid4()))

    def delete(self, path: str) -> Any:
        """Remove something."""
        return self._ask("DELETE", path)

    def _ask(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, list[str]] | None = None,
        body: Mapping[str, object] | None = None,
        files: Mapping[str, tuple[str, bytes, str]] | None = None,
        fields: Mapping[str, str] | None = None,
        key: str | None = None,
        within: float | None = None,
    ) -> Any:
        headers = {"Idempotency-Key": key} if key else {}
        timeout = httpx.USE_CLIENT_DEFAULT if within is None else httpx.Timeout(within, connect=5.0)
        answer: httpx.Response | None = None
        tries = _TRIES if within is None else 1
        for attempt in range(tries):
            if attempt:
                time.sleep(max(self._pause * 2**attempt, _retry_after(answer)))
            try:
                answer = self._http.request(
                    method, path, params=params, json=body, files=files, data=fields, headers=headers, timeout=timeout
                )
            except httpx.ConnectError as error:
                raise Failure(f"no hub answers at {self.url} (is `hub up` running?)") from error
            except httpx.HTTPError as error:
                if attempt == tries - 1:
                    raise Failure(f"{self.url} broke off: {type(error).__name__}") from error
                continue
            if answer.status_code not in _AGAIN:
                break
        if answer is None:
            raise Failure(f"{self.url} does not answer")
        if not answer.is_success:
            raise Failure(problem_line(answer), status=answer.status_code)
        if not answer.content:
            return {}
        try:
            return answer.json()
        except ValueError as error:
            raise Failure(f"{self.url} answered {answer.status_code} with something that is not JSON") from error


def segment(text: str) -> str:
    """A value as one segment of a path."""
    return quote(text, safe="")


def items_of(answer: Any) -> list[dict[str, Any]]:
    """The rows of a list answer."""
    rows = answer.get("items", []) if isinstance(answer, dict) else answer
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def problem_line(answer: httpx.Response) -> str:
    """A refusal (problem+json, RFC 9457) in words: title, detail, each wrong field, and the trace to look up."""
    try:
        problem = answer.json()
    except ValueError:
        problem = None
    if not isinstance(problem, dict):
        return f"{answer.status_code} {answer.reason_phrase}"
    title = str(problem.get("title") or answer.reason_phrase)
    detail = str(problem.get("detail") or "")
    line = (detail or title) if not detail or detail.startswith(title) else f"{title}: {detail}"
    fields = [_field(error, line) for error in problem.get("errors") or () if isinstance(error, dict)]
    new = [text for text in fields if text and text not in line]
    trace = problem.get("trace_id")
    return "".join(
        (
            f"{answer.status_code} {line}",
            f" [{'; '.join(new)}]" if new else "",
            f" (trace {trace})" if trace else "",
        )
    )


def _field(error: Mapping[str, Any], said: str) -> str:
    """Which field is wrong, and how when `said` does not say it already."""
    where = next((error[name] for name in ("field", "pointer", "subject", "name", "loc") if error.get(name)), "")
    if isinstance(where, list):
        where = ".".join(map(str, where))
    what = next((error[name] for name in ("detail", "message", "reason", "msg") if error.get(name)), "")
    return f"{where}: {what}" if where and what and what not in said else str(where or what)


def _query(values: Mapping[str, object]) -> dict[str, list[str]]:
    return {
        name: [str(item).lower() if isinstance(item, bool) else str(item) for item in items]
        for name, value in values.items()
        if (items := value if isinstance(value, list) else [] if value is None else [value])
    }


def _retry_after(answer: httpx.Response | None) -> float:
    try:
        return min(10.0, float(answer.headers.get("Retry-After", 0))) if answer is not None else 0.0
    except ValueError:
        return 0.0
