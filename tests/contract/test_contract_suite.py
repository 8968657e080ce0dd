"""The contract suite has teeth: adapters that break the contract in one way fail in exactly that test."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAD = """
from dataclasses import replace
from hub import *
from hub.contract import Adapter
from hub.errors import DeliveryError
from hub.testing.contract import AdapterContract
from hub.testing.kit import sample_assignment
from hub_hotline import HotlineAdapter
from hub_hotline.messages import Event
from hub_hotline.simulator import adapter_settings
from pydantic import TypeAdapter

class Broken(HotlineAdapter):
"""
TAIL = """

class TestBroken(AdapterContract):
    adapter_class = Broken
    simulator_module = "hub_hotline.simulator"
    adapter_settings = staticmethod(adapter_settings)
"""
MUTANTS = {
    "sends again blindly under a new key": (
        """
    async def deliver(self, assignment):
        try:
            return await super().deliver(assignment)
        except OutcomeUnknown:
            return await super().deliver(replace(assignment, key=assignment.key + "0"))
""",
        "test_lost_answer_leads_to_one_ticket",
    ),
    "swallows a refusal": (
        """
    async def deliver(self, assignment):
        try:
            return await super().deliver(assignment)
        except Refused:
            return Receipt(ticket="none")
""",
        "test_assignment_the_department_does_not_want_is_refused",
    ),
    "declares what it does not define": (
        """
    urge = Adapter.urge
""",
        "test_declared_capabilities_are_defined",
    ),
    "believes every callback": (
        """
    async def parse_callback(self, request):
        return (TypeAdapter(Event).validate_json(request.body).item(),)
""",
        "test_tampered_callback_is_rejected",
    ),
    "finds what was never sent": (
        """
    async def lookup(self, assignment):
        return await super().lookup(assignment) or Receipt(ticket="ZX00000000")
""",
        "test_lookup_of_what_was_never_sent_finds_nothing",
    ),
    "hides how long to wait": (
        """
    async def deliver(self, assignment):
        try:
            return await super().deliver(assignment)
        except Unavailable as error:
            raise Unavailable(str(error)) from error
""",
        "test_rate_limit_is_unavailable_until_the_stated_time",
    ),
    "says wrong credentials are a passing trouble": (
        """
    async def deliver(self, assignment):
        try:
            return await super().deliver(assignment)
        except CredentialsRejected as error:
            raise Unavailable(str(error)) from error
""",
        "test_wrong_secret_is_rejected_by_the_department",
    ),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_broken_adapter_fails_in_the_test_that_says_so(tmp_path: Path, mutant: str) -> None:
    code, test = MUTANTS[mutant]
    file = tmp_path / "test_broken.py"
    file.write_text(HEAD + code + TAIL, encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-c",
        str(ROOT / "pyproject.toml"),
        "-p",
        "no:cacheprovider",
        str(file),
        "-k",
        test,
    ]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False, timeout=60)
    assert re.search(r"\b1 failed\b", result.stdout), result.stdout
    assert re.search(rf"^FAILED \S*::TestBroken::{test}\b", result.stdout, re.MULTILINE), result.stdout
