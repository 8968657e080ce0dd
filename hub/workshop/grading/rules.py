"""The rules of the quality scale, each with its reason and its check.

A check gives the text of what is wrong, or None. Where a rule is about behaviour it is proved by tests of the contract suite, which have
to have run and passed against the plugin's own simulator; where it is about form, by looking at the code and the README.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from pydantic import SecretBytes, SecretStr

from hub.contract import Adapter, Capability, Plugin
from hub.errors import PluginError
from hub.platform.adapters.plugins import check_class
from hub.workshop.grading.subject import Subject

LONGEST_ATTEMPT = timedelta(seconds=60)
LEAST_COVERAGE = 95.0
_CHINESE = re.compile(r"[一-鿿]")
_BLOCKING = frozenset(
    {"requests", "urllib3", "http.client", "urllib.request", "smtplib", "imaplib", "ftplib", "telnetlib", "socket"}
)


class Tier(StrEnum):
    """The tiers, lowest first."""

    BRONZE = "bronze"
    SILVER = "silver"
    GOLD = "gold"
    PLATINUM = "platinum"


Check = Callable[[Subject], str | None]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One rule. `why`: what goes wrong without it. `needs`: the capabilities it is about; it concerns no plugin without them."""

    id: str
    tier: Tier
    title: str
    why: str
    check: Check
    needs: frozenset[Capability] = frozenset()

    def concerns(self, subject: Subject) -> bool:
        """Whether the plugin does what the rule is about."""
        return not self.needs or bool(self.needs & subject.kind.manifest.capabilities)


def proved(*tests: str) -> Check:
    """A check that the contract suite's tests ran and passed."""

    def check(subject: Subject) -> str | None:
        if subject.proof.error:
            return subject.proof.error
        missing = subject.proof.passed(*tests)
        return f"not proved: {', '.join(missing)}" if missing else None

    return check


def _heading(*words: str) -> Check:
    """A check that the README has a section about something."""

    def check(subject: Subject) -> str | None:
        headings = [line.lstrip("# ").lower() for line in subject.readme.splitlines() if line.startswith("#")]
        found = any(word in heading for heading in headings for word in words)
        return None if found else f"the README has no section about {words[0]} ({' / '.join(words)})"

    return check


def _typed_settings(subject: Subject) -> str | None:
    missing = [name for name, field in subject.kind.Settings.model_fields.items() if not field.description]
    if missing:
        return f"settings without a description: {', '.join(missing)}"
    if subject.kind.Settings.model_config.get("extra") != "forbid":
        return "settings take unknown keys: a slip in a name would pass unseen"
    return None


def _tried(subject: Subject) -> str | None:
    return (
        "health is not defined: nothing can be tried before it takes traffic" if subject.kind.health is Plugin.health else None
    )


def _unique(subject: Subject) -> str | None:
    shared = [
        name
        for base in subject.kind.__mro__
        if base.__module__.split(".")[0] == subject.package.name
        for name, value in vars(base).items()
        if isinstance(value, list | dict | set | bytearray) and not name.startswith("__")
    ]
    return f"two instances would share {', '.join(shared)}" if shared else None


def _declared(subject: Subject) -> str | None:
    try:
        check_class(subject.kind)
    except PluginError as problem:
        return problem.message
    manifest = subject.kind.manifest
    if issubclass(subject.kind, Adapter) and not manifest.capabilities & {Capability.LOOKUP, Capability.IDEMPOTENT}:
        return "neither lookup nor idempotent: no way out of a lost answer"
    return None


def _bounded(subject: Subject) -> str | None:
    limit = subject.kind.manifest.attempt_timeout
    if not timedelta(0) < limit <= LONGEST_ATTEMPT:
        return f"attempt_timeout is {limit.total_seconds():.0f} s, at most {LONGEST_ATTEMPT.total_seconds():.0f} s are taken"
    return proved("test_attempt_ends_in_time_whatever_the_department_does")(subject) if _over_http(subject) else None


def _documented_settings(subject: Subject) -> str | None:
    missing = [name for name in subject.kind.Settings.model_fields if name not in subject.readme]
    return f"settings the README does not name: {', '.join(missing)}" if missing else None


def _install_docs(subject: Subject) -> str | None:
    for check in (_heading("install", "安装"), _heading("remov", "卸载", "移除"), _documented_settings):
        if says := check(subject):
            return says
    return None


def _statuses(subject: Subject) -> str | None:
    if not subject.kind.manifest.crosswalk.statuses:
        return "the manifest's crosswalk maps no status"
    return proved("test_every_documented_status_is_in_the_crosswalk")(subject)


def _concurrency(subject: Subject) -> str | None:
    return None if "concurrency" in _manifest_words(subject) else "the manifest does not say how many assignments go at once"


def _owner(subject: Subject) -> str | None:
    return None if subject.kind.manifest.owner.strip() else "the manifest names no owner"


def _lookup(subject: Subject) -> str | None:
    if Capability.LOOKUP not in subject.kind.manifest.capabilities:
        return "lookup is not declared"
    return proved("test_lookup_of_what_was_never_sent_finds_nothing", "test_lost_answer_leads_to_one_ticket")(subject)


def _secrets(subject: Subject) -> str | None:
    looks = re.compile(r"secret|password|token|key$", re.IGNORECASE)
    plain = [
        name
        for name, field in subject.kind.Settings.model_fields.items()
        if looks.search(name) and not _is_secret(field.annotation) and field.annotation is str
    ]
    return (
        f"settings that look secret and are plain text: {', '.join(plain)}"
        if plain
        else proved("test_secrets_never_show")(subject)
    )


def _coverage(subject: Subject) -> str | None:
    if subject.proof.coverage is None:
        return subject.proof.error or "coverage was not measured"
    if subject.proof.coverage < LEAST_COVERAGE:
        return f"{subject.proof.coverage:.1f} % of the lines are covered, {LEAST_COVERAGE:.0f} % are asked"
    return None


def _chinese(subject: Subject) -> str | None:
    if not _CHINESE.search(subject.readme):
        return "the README has no Chinese part"
    spoken = any(_CHINESE.search(text) for tree in subject.modules.values() for text in _texts(tree))
    return None if spoken else "no message to people is in Chinese"


def _catalogue(subject: Subject) -> str | None:
    if Capability.CATALOGUE not in subject.kind.manifest.capabilities:
        return "catalogue is not declared: a department's changed categories would pass unseen"
    return proved("test_catalogue_names_every_category")(subject)


def _audit(subject: Subject) -> str | None:
    if Capability.AUDIT not in subject.kind.manifest.capabilities:
        return "audit is not declared: the nightly reconciliation can't compare"
    return proved("test_audit_shows_how_tickets_stand")(subject)


def _durable(subject: Subject) -> str | None:
    capabilities = subject.kind.manifest.capabilities
    tests = ["test_reports_accepted_and_resolved_in_the_end", "test_repeated_and_out_of_order_reports_keep_their_ids"]
    if Capability.POLL in capabilities:
        tests.append("test_poll_goes_on_where_it_was")
    if Capability.CALLBACK in capabilities:
        tests.append("test_tampered_callback_is_rejected")
    return proved(*tests)(subject)


def _async(subject: Subject) -> str | None:
    for module, tree in subject.modules.items():
        for node in ast.walk(tree):
            names = (
                [one.name for one in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
            blocking = [name for name in names if name in _BLOCKING]
            if blocking:
                return f"{module} imports {blocking[0]}, which blocks"
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "time.sleep":
                return f"{module}:{node.lineno} sleeps in time.sleep"
    return None


def _injected(subject: Subject) -> str | None:
    for module, tree in subject.modules.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("httpx.AsyncClient", "httpx.Client", "AsyncClient"):
                return f"{module}:{node.lineno} makes an HTTP client of its own"
    return None


def _typed(subject: Subject) -> str | None:
    if not (subject.package / "py.typed").is_file():
        return "there is no py.typed"
    if subject.proof.error:
        return subject.proof.error
    return None if subject.proof.typing is None else f"mypy --strict: {subject.proof.typing}"


def _recorded(subject: Subject) -> str | None:
    found = sorted((subject.root / "tests").rglob("*.cassette.json")) if subject.root is not None else []
    return None if found else "no recorded exchange is replayed in its tests (tests/**/*.cassette.json)"


def _over_http(subject: Subject) -> bool:
    return subject.proof.results.get("test_huge_answer_is_refused_without_eating_memory") is not None


def _is_secret(annotation: object) -> bool:
    return any(secret.__name__ in str(annotation) for secret in (SecretStr, SecretBytes))


def _manifest_words(subject: Subject) -> set[str]:
    return {
        word.arg
        for tree in subject.modules.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("Manifest")
        for word in node.keywords
        if word.arg
    }


def _texts(tree: ast.Module) -> Iterator[str]:
    """String constants that are no docstrings."""
    documented = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documented:
            yield node.value


_B, _S, _G, _P = Tier.BRONZE, Tier.SILVER, Tier.GOLD, Tier.PLATINUM
_FAULTS = (
    "test_failing_department_is_unavailable",
    "test_rate_limit_is_unavailable_until_the_stated_time",
    "test_department_that_is_down_is_unavailable",
    "test_broken_connection_leads_to_one_ticket",
    "test_huge_answer_is_refused_without_eating_memory",
    "test_garbage_is_a_fault_and_never_a_second_ticket",
)
_IN = frozenset({Capability.POLL, Capability.CALLBACK})

RULES: tuple[Rule, ...] = (
    Rule(
        id="typed-settings",
        tier=_B,
        title="Settings are typed and described",
        why="a slip in a setting is found before traffic",
        check=_typed_settings,
    ),
    Rule(
        id="tried-before-use",
        tier=_B,
        title="It can be tried before use",
        why="a wrong address is found by a question, not by a case",
        check=_tried,
    ),
    Rule(
        id="unique-instance", tier=_B, title="Instances share nothing", why="two districts' systems must not mix", check=_unique
    ),
    Rule(
        id="declared-capabilities",
        tier=_B,
        title="It declares what it can, and can it",
        why="the hub calls only what is declared",
        check=_declared,
    ),
    Rule(
        id="idempotency-key",
        tier=_B,
        title="The same key files nothing new",
        why="a repeat must not be a second ticket",
        check=proved("test_same_key_gives_the_same_ticket", "test_lost_answer_leads_to_one_ticket"),
    ),
    Rule(
        id="bounded-time",
        tier=_B,
        title="Every attempt ends in time",
        why="a hanging system must not hold assignments",
        check=_bounded,
    ),
    Rule(
        id="complete-state-map",
        tier=_B,
        title="Every status of the department is mapped",
        why="an unmapped status is a report nobody understands",
        check=_statuses,
    ),
    Rule(
        id="install-docs",
        tier=_B,
        title="Installing, settings and removing are described",
        why="DevOps meets it for the first time at night",
        check=_install_docs,
    ),
    Rule(
        id="classified-errors",
        tier=_S,
        title="Errors are told apart",
        why="what may be repeated and what must not decides over doubled tickets",
        check=proved(
            "test_assignment_the_department_does_not_want_is_refused",
            "test_rejected_credentials_are_told_apart",
            "test_failing_department_is_unavailable",
        ),
    ),
    Rule(
        id="lookup",
        tier=_S,
        title="It asks by reference",
        why="after a lost answer the department is asked, not guessed",
        check=_lookup,
    ),
    Rule(
        id="logs-once",
        tier=_S,
        title="It says once that the department is down",
        why="a log full of one thing hides the next",
        check=proved("test_department_that_is_down_is_logged_once"),
    ),
    Rule(
        id="declared-concurrency",
        tier=_S,
        title="It says how much goes at once",
        why="the department's system is not ours to overload",
        check=_concurrency,
    ),
    Rule(
        id="clean-unload",
        tier=_S,
        title="It leaves nothing behind when it stops",
        why="it is replaced while the hub runs",
        check=proved("test_stop_leaves_nothing_behind"),
    ),
    Rule(
        id="rotated-credentials",
        tier=_S,
        title="Credentials change without a restart",
        why="certificates expire on weekends",
        check=proved("test_wrong_secret_is_rejected_by_the_department", "test_health_tells_up_from_down"),
    ),
    Rule(id="owner", tier=_S, title="Somebody answers for it", why="somebody has to be asked", check=_owner),
    Rule(
        id="fault-suite",
        tier=_S,
        title="It passes the fault suite",
        why="departments' systems fail in all these ways",
        check=proved(*_FAULTS),
    ),
    Rule(
        id="coverage", tier=_S, title="95 % of its lines are tested", why="what never ran fails in the night", check=_coverage
    ),
    Rule(id="redacted-secrets", tier=_G, title="Secrets never show", why="diagnostics are mailed around", check=_secrets),
    Rule(
        id="durable-reports",
        tier=_G,
        title="Reports come once and go on where they were",
        why="a restart must not lose or repeat them",
        check=_durable,
        needs=_IN,
    ),
    Rule(
        id="attachments",
        tier=_G,
        title="Attachments come whole",
        why="a photo is evidence",
        check=proved("test_attached_files_come_whole"),
        needs=_IN,
    ),
    Rule(
        id="catalogue-drift",
        tier=_G,
        title="A changed catalogue is seen",
        why="a renamed category sends cases astray",
        check=_catalogue,
    ),
    Rule(
        id="reconciliation",
        tier=_G,
        title="Both sides can be compared",
        why="what one side lost shows at night, not in a complaint",
        check=_audit,
    ),
    Rule(
        id="reconfigured-in-flight",
        tier=_G,
        title="It is reconfigured while it works",
        why="nothing in hand may be lost by a change",
        check=proved("test_stop_leaves_nothing_behind", "test_same_key_gives_the_same_ticket"),
    ),
    Rule(id="chinese-messages", tier=_G, title="It speaks Chinese to people", why="operators read it", check=_chinese),
    Rule(
        id="known-limitations",
        tier=_G,
        title="What it can't is written down",
        why="nobody should find out by a case",
        check=_heading("limitation", "局限", "限制", "不支持"),
    ),
    Rule(id="fully-async", tier=_P, title="It never blocks", why="a blocked loop is everybody's", check=_async),
    Rule(
        id="injected-client",
        tier=_P,
        title="It uses the hub's client and tracer",
        why="what goes past them has no trace, limit or breaker",
        check=_injected,
    ),
    Rule(id="strict-typing", tier=_P, title="It is strictly typed", why="the contract is checked before it runs", check=_typed),
    Rule(
        id="killed-at-any-step",
        tier=_P,
        title="Killed between sending and answer: one ticket",
        why="machines die",
        check=proved(
            "test_killed_between_sending_and_answer_leads_to_one_ticket",
            "test_ticket_outlives_the_death_of_the_departments_system",
        ),
    ),
    Rule(
        id="recorded-tests",
        tier=_P,
        title="Recorded exchanges are replayed",
        why="the simulator can be wrong in the same way as the adapter",
        check=_recorded,
    ),
)
"""Every rule, lowest tier first."""
