"""The quality scale: each rule finds what it is about, a tier needs all below it, a report holds only for the files it was made of."""

import importlib
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from hub.contract import Adapter
from hub.platform.adapters.plugins import Plugins
from hub.workshop.grading import RULES, Grade, Proof, Subject, Tier, grade, subject_of, tier_of, write_report
from hub.workshop.grading.grade import Standing

BUNDLED = ("hotline", "police", "property", "utilities")
GOLD_AND_ABOVE = (Tier.GOLD.value, Tier.PLATINUM.value)

ADAPTER = '''
"""An adapter that is as it should be."""
from datetime import timedelta
from pydantic import Field, SecretStr
from hub import Adapter, AdapterSettings, Assignment, Capability, Crosswalk, Health, Manifest, Receipt, FeedbackKind

class Settings(AdapterSettings):
    """Settings."""
    url: str = Field(description="Where.")
    secret: SecretStr = Field(description="With what.")

class Lamps(Adapter):
    """Lamps."""
    manifest = Manifest(
        name="graded_lamps", department="路灯", version="1", owner="Lamps team", concurrency=4,
        capabilities=frozenset({Capability.IDEMPOTENT, Capability.LOOKUP, Capability.POLL, Capability.AUDIT, Capability.CATALOGUE}),
        crosswalk=Crosswalk(statuses={"DONE": FeedbackKind.RESOLVED}),
    )
    Settings = Settings

    async def deliver(self, assignment: Assignment) -> Receipt:
        """Deliver."""
        return Receipt(ticket="路灯 1")

    async def lookup(self, assignment):
        """Look."""
    async def poll(self, cursor):
        """Poll."""
    async def audit(self, cursor):
        """Audit."""
    async def catalogue(self):
        """Catalogue."""
    async def health(self) -> Health:
        """Well."""
        return Health(ok=True)
'''
README = """# 路灯
## Install 安装
## Settings
`url`, `secret`
## Remove 卸载
## Known limitations
"""


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Subject]]:
    """A plugin's source directory with a package, and the subject it is."""
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'graded'\n")

    def made(code: str = ADAPTER, readme: str = README, broken: tuple[str, ...] = (), coverage: float = 99.0) -> Subject:
        package = tmp_path / "graded_lamps"
        package.mkdir(exist_ok=True)
        (package / "__init__.py").write_text("")
        (package / "py.typed").write_text("")
        (package / "adapter.py").write_text(textwrap.dedent(code))
        (tmp_path / "README.md").write_text(readme)
        (tmp_path / "tests").mkdir(exist_ok=True)
        (tmp_path / "tests" / "one.cassette.json").write_text("{}")
        importlib.invalidate_caches()
        for name in [name for name in sys.modules if name.startswith("graded_lamps")]:
            del sys.modules[name]
        kind: type[Adapter] = importlib.import_module("graded_lamps.adapter").Lamps
        tests = {name: name not in broken for name in all_tests()}
        return replace(subject_of(kind), proof=Proof(results=tests, coverage=coverage))

    yield made
    for name in [name for name in sys.modules if name.startswith("graded_lamps")]:
        del sys.modules[name]


def all_tests() -> list[str]:
    """Every test of the contract suite."""
    from hub.testing.contract import AdapterContract

    return [name for name in dir(AdapterContract) if name.startswith("test_")]


def broken_rules(report: Grade) -> set[str]:
    return {verdict.rule for verdict in report.verdicts if verdict.standing is Standing.BROKEN}


def test_a_plugin_that_is_as_it_should_be_reaches_platinum(make: Callable[..., Subject]) -> None:
    report = grade(make())
    assert broken_rules(report) == set()
    assert report.tier is Tier.PLATINUM


@pytest.mark.parametrize(
    ("old", "new", "rule", "tier"),
    [
        ('url: str = Field(description="Where.")', "url: str", "typed-settings", None),
        ("    async def health(self) -> Health:\n", "    async def well(self) -> Health:\n", "tried-before-use", None),
        ("    manifest = Manifest(", "    seen: dict = {}\n    manifest = Manifest(", "unique-instance", None),
        ('statuses={"DONE": FeedbackKind.RESOLVED}', "statuses={}", "complete-state-map", None),
        ('version="1",', 'version="1", attempt_timeout=timedelta(minutes=5),', "bounded-time", None),
        ('owner="Lamps team", ', "", "owner", Tier.BRONZE),
        ("concurrency=4,", "", "declared-concurrency", Tier.BRONZE),
        ("Capability.LOOKUP, ", "", "lookup", Tier.BRONZE),
        ("secret: SecretStr", "secret: str", "redacted-secrets", Tier.SILVER),
        (", Capability.CATALOGUE", "", "catalogue-drift", Tier.SILVER),
        (", Capability.AUDIT", "", "reconciliation", Tier.SILVER),
        ('ticket="路灯 1"', 'ticket="1"', "chinese-messages", Tier.SILVER),
        ("from datetime import", "import socket\nfrom datetime import", "fully-async", Tier.GOLD),
    ],
)
def test_each_rule_of_form_finds_what_it_is_about(
    make: Callable[..., Subject], old: str, new: str, rule: str, tier: Tier | None
) -> None:
    assert old in ADAPTER
    code = ADAPTER.replace(old, new)
    if rule == "chinese-messages":
        code = code.replace('department="路灯"', 'department="lamps"')
    report = grade(make(code))
    assert rule in broken_rules(report)
    assert report.tier is tier


@pytest.mark.parametrize(
    ("gone", "rule"),
    [
        ("## Install 安装", "install-docs"),
        ("`url`, ", "install-docs"),
        ("## Remove 卸载", "install-docs"),
        ("## Known limitations", "known-limitations"),
    ],
)
def test_the_readme_has_to_say_what_one_needs(make: Callable[..., Subject], gone: str, rule: str) -> None:
    assert rule in broken_rules(grade(make(readme=README.replace(gone, ""))))


@pytest.mark.parametrize(
    ("test", "rule"),
    [
        ("test_same_key_gives_the_same_ticket", "idempotency-key"),
        ("test_lost_answer_leads_to_one_ticket", "idempotency-key"),
        ("test_attempt_ends_in_time_whatever_the_department_does", "bounded-time"),
        ("test_garbage_is_a_fault_and_never_a_second_ticket", "fault-suite"),
        ("test_stop_leaves_nothing_behind", "clean-unload"),
        ("test_secrets_never_show", "redacted-secrets"),
        ("test_killed_between_sending_and_answer_leads_to_one_ticket", "killed-at-any-step"),
        ("test_poll_goes_on_where_it_was", "durable-reports"),
    ],
)
def test_a_rule_of_behaviour_needs_its_proof(make: Callable[..., Subject], test: str, rule: str) -> None:
    assert rule in broken_rules(grade(make(broken=(test,))))


def test_every_proof_the_rules_ask_for_is_a_test_of_the_contract_suite(make: Callable[..., Subject]) -> None:
    subject = replace(make(), proof=Proof(results={}))
    asked = {
        name.strip()
        for rule in RULES
        if (says := rule.check(subject)) and says.startswith("not proved: ")
        for name in says.removeprefix("not proved: ").split(",")
    }
    assert asked
    assert asked <= set(all_tests())


def test_too_little_coverage_and_tests_that_did_not_run_are_said(make: Callable[..., Subject]) -> None:
    subject = make(coverage=94.9)
    assert "coverage" in broken_rules(grade(subject))
    unproved = grade(replace(subject, proof=Proof(error="its tests are not here")))
    assert unproved.tier is None
    assert any(verdict.says == "its tests are not here" for verdict in unproved.verdicts)


def test_a_report_holds_only_for_the_files_it_was_made_of(make: Callable[..., Subject]) -> None:
    subject = make()
    assert tier_of(subject.kind) == ""
    report = grade(subject)
    write_report(subject, report)
    assert report.tier is not None
    assert tier_of(subject.kind) == report.tier.value
    (subject.package / "adapter.py").write_text(ADAPTER + "\n# changed\n")
    assert tier_of(subject.kind) == "stale"


def test_every_rule_has_a_name_of_its_own_and_a_reason() -> None:
    assert len({rule.id for rule in RULES}) == len(RULES)
    assert all(rule.why and rule.title for rule in RULES)
    assert [rule.tier for rule in RULES] == sorted((rule.tier for rule in RULES), key=list(Tier).index)


@pytest.mark.parametrize("name", BUNDLED)
def test_a_bundled_department_is_graded_gold_at_least(name: str) -> None:
    """Its own contract tests run in this suite as well; after a change: `hub plugin grade NAME`."""
    assert tier_of(Plugins().get(name)) in GOLD_AND_ABOVE, f"run `hub plugin grade {name}`"
