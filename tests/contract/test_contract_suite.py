"""The contract suite has teeth: adapters that break the contract in one way fail in exactly that test."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAD = """
from msgspec.structs import replace
from hub import *
from hub.contract import Adapter
from hub.errors import DeliveryError
from hub.testing.contract import AdapterContract
from hub.testing.kit import sample_assignment
from hub_hotline import HotlineAdapter
from hub_hotline.messages import Event
from hub_hotline.simulator import adapter_settings
from pydantic import TypeAdapter
"""
MUTANT = """

class Broken{number}(HotlineAdapter):
{code}

class TestBroken{number}(AdapterContract):
    adapter_class = Broken{number}
    simulator_module = "hub_hotline.simulator"
    adapter_settings = staticmethod(adapter_settings)
    patience = 5.0
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
    "lets rubbish through as an error of its own": (
        """
    async def deliver(self, assignment):
        try:
            return await super().deliver(assignment)
        except (AdapterFault, OutcomeUnknown) as error:
            raise ValueError("not JSON") from error
""",
        "test_garbage_is_a_fault_and_never_a_second_ticket",
    ),
    "reads whatever comes over a client of its own": (
        """
    async def deliver(self, assignment):
        try:
            return await super().deliver(assignment)
        except (AdapterFault, OutcomeUnknown):
            self.heap = bytearray(50 * 1024 * 1024)
            raise
""",
        "test_huge_answer_is_refused_without_eating_memory",
    ),
    "leaves a task behind": (
        """
    async def start(self):
        await super().start()
        import asyncio
        self.task = asyncio.create_task(asyncio.sleep(60))
""",
        "test_stop_leaves_nothing_behind",
    ),
    "leaves a connection behind": (
        """
    async def start(self):
        await super().start()
        import socket
        self.wire = socket.create_connection(("127.0.0.1", self.settings.url.port))
        type(self).kept = self.wire
""",
        "test_stop_leaves_nothing_behind",
    ),
    "says again and again that the department is down": (
        """
    async def health(self):
        try:
            return await super().health()
        except Unavailable:
            self.log.warning("department is down")
            raise
""",
        "test_department_that_is_down_is_logged_once",
    ),
    "shows its secret in an error": (
        """
    async def deliver(self, assignment):
        try:
            return await super().deliver(assignment)
        except CredentialsRejected as error:
            raise CredentialsRejected(f"{self.settings.secret.get_secret_value()} is rejected") from error
""",
        "test_secrets_never_show",
    ),
    "does not end when its time is over": (
        """
    async def deliver(self, assignment):
        import asyncio
        try:
            return await super().deliver(assignment)
        except asyncio.CancelledError:
            await asyncio.sleep(30)
            raise
""",
        "test_attempt_ends_in_time_whatever_the_department_does",
    ),
    "takes news it can't read for no news": (
        """
    async def poll(self, cursor):
        try:
            return await super().poll(cursor)
        except AdapterFault:
            return Poll(items=[], cursor=cursor)
""",
        "test_garbage_instead_of_news_is_a_fault",
    ),
}


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> frozenset[str]:
    """`TestBroken<number>::test_…` of what failed; all mutants in one run, each in the test that is to find it."""
    directory = tmp_path_factory.mktemp("mutants")
    code = [MUTANT.format(number=number, code=code) for number, (code, _) in enumerate(MUTANTS.values())]
    file = directory / "test_broken.py"
    file.write_text(HEAD + "".join(code), encoding="utf-8")
    chosen = [f"{file}::TestBroken{number}::{test}" for number, (_, test) in enumerate(MUTANTS.values())]
    options = ["-q", "-c", str(ROOT / "pyproject.toml"), "-p", "no:cacheprovider", "--tb=line"]
    command = [sys.executable, "-m", "pytest", *options, *chosen]
    result = subprocess.run(command, capture_output=True, text=True, cwd=directory, check=False, timeout=280)
    assert result.returncode == 1, result.stdout
    return frozenset(re.findall(r"^FAILED \S*::(TestBroken\d+::test_\w+)", result.stdout, re.MULTILINE))


@pytest.mark.parametrize("mutant", MUTANTS)
def test_broken_adapter_fails_in_the_test_that_says_so(mutant: str, failed: frozenset[str]) -> None:
    number = list(MUTANTS).index(mutant)
    assert f"TestBroken{number}::{MUTANTS[mutant][1]}" in failed
