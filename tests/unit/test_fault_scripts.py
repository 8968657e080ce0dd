"""What a fault script says, and what is refused."""

from __future__ import annotations

import pytest

from hub.testing.faults import FaultKind
from hub.testing.scripts import Script, Trouble, Which, parse_script


def test_script_reads_times_sizes_repeats_lines_and_comments() -> None:
    text = "timeout_after_accept, error*3, ok, rate_limit(2s)\n# then worse\ngarbage, huge(50MB), hang(500ms)  # slow\nclose"
    assert parse_script(text) == (
        Trouble(FaultKind.TIMEOUT_AFTER_ACCEPT),
        *[Trouble(FaultKind.ERROR)] * 3,
        Trouble(None),
        Trouble(FaultKind.RATE_LIMIT, seconds=2),
        Trouble(FaultKind.GARBAGE),
        Trouble(FaultKind.HUGE, size=50 * 1024 * 1024),
        Trouble(FaultKind.HANG, seconds=0.5),
        Trouble(FaultKind.CLOSE),
    )


@pytest.mark.parametrize(
    "step", ["eror", "error(3s)", "hang(5MB)", "ok(1s)", "huge(x)", "outage", "duplicate_callback", "error*"]
)
def test_step_that_means_nothing_is_refused_by_name(step: str) -> None:
    with pytest.raises(ValueError, match=r"step|amount") as refusal:
        parse_script(f"ok, {step}")
    assert step in str(refusal.value)


def test_only_filing_requests_use_up_a_script_unless_it_is_for_all() -> None:
    steps = parse_script("error, ok")
    script = Script(steps)
    assert script.take(filing=False) is None
    assert script.take(filing=True) == Trouble(FaultKind.ERROR)
    assert script.left() == ["ok"]
    everything = Script(steps, Which.ALL)
    assert everything.take(filing=False) == Trouble(FaultKind.ERROR)
