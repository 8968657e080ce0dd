"""The tier a plugin reaches, and its report: which rule holds, which does not and why. Pure but for the report's file.

A tier is reached when all its rules and all those of the tiers below hold. The report lies beside the package and is good only for
the files it was made of.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

import msgspec

from hub.contract import Plugin
from hub.errors import InvalidInput
from hub.workshop.grading.rules import RULES, Tier
from hub.workshop.grading.subject import REPORT, Subject, digest_of, subject_of


class Standing(StrEnum):
    """Whether a rule holds."""

    HOLDS = "holds"
    BROKEN = "broken"
    NOT_CONCERNED = "not_concerned"
    """The rule is about something the plugin's kind does not do."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """One rule's outcome; `says` why it is broken."""

    rule: str
    tier: Tier
    standing: Standing
    says: str = ""


class Grade(msgspec.Struct, frozen=True, kw_only=True):
    """A plugin's report. `tier` None: not even bronze. `digest`: of the package's files."""

    plugin: str
    version: str
    tier: Tier | None
    digest: str
    coverage: float | None
    verdicts: tuple[Verdict, ...]


def grade(subject: Subject) -> Grade:
    """Hold a plugin against every rule."""
    verdicts = []
    for rule in RULES:
        if not rule.concerns(subject):
            verdicts.append(Verdict(rule=rule.id, tier=rule.tier, standing=Standing.NOT_CONCERNED))
            continue
        says = rule.check(subject)
        standing = Standing.BROKEN if says else Standing.HOLDS
        verdicts.append(Verdict(rule=rule.id, tier=rule.tier, standing=standing, says=says or ""))
    reached: Tier | None = None
    for tier in Tier:
        if any(one.tier is tier and one.standing is Standing.BROKEN for one in verdicts):
            break
        reached = tier
    manifest = subject.kind.manifest
    coverage = subject.proof.coverage
    return Grade(
        plugin=manifest.name,
        version=manifest.version,
        tier=reached,
        digest=digest_of(subject.package),
        coverage=None if coverage is None else round(coverage, 1),
        verdicts=tuple(verdicts),
    )


def write_report(subject: Subject, report: Grade) -> Path:
    """Put the report beside the package; returns where."""
    file = subject.package / REPORT
    file.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
    return file


def read_report(package: Path) -> Grade | None:
    """The report of a package; None when there is none that can be read."""
    try:
        return msgspec.json.decode((package / REPORT).read_bytes(), type=Grade)
    except (OSError, msgspec.DecodeError):
        return None


def tier_of(kind: type[Plugin]) -> str:
    """The tier a plugin was graded with: bronze to platinum, `stale` when its files have changed since, empty when never."""
    try:
        package = subject_of(kind).package
    except InvalidInput:
        return ""
    report = read_report(package)
    if report is None or report.plugin != kind.manifest.name:
        return ""
    if report.digest != digest_of(package):
        return "stale"
    return report.tier.value if report.tier is not None else ""
