"""Who tries links waits; who has a link that opened does not, even behind the same address."""

from __future__ import annotations

from typing import Any

import pytest
from hub_page.desk.guesses import WITHIN, WRONG, Guesses, TooManyGuesses


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def guesses(clock: Clock) -> Guesses:
    return Guesses(clock)


def _guess(guesses: Guesses, address: str = "192.0.2.1", times: int = WRONG) -> None:
    for number in range(times):
        guesses.check(address, f"guess {number}")
        guesses.wrong(address)


def test_address_with_too_many_wrong_links_waits_and_may_come_again(guesses: Guesses, clock: Clock) -> None:
    _guess(guesses)
    with pytest.raises(TooManyGuesses) as refused:
        guesses.check("192.0.2.1", "another")
    assert refused.value.retry_after == WITHIN
    guesses.check("192.0.2.2", "another")
    clock.now += WITHIN - 0.5
    with pytest.raises(TooManyGuesses) as refused:
        guesses.check("192.0.2.1", "another")
    assert refused.value.retry_after == 1
    clock.now += 0.5
    _guess(guesses)


def test_link_that_opened_from_an_address_goes_on_opening(guesses: Guesses) -> None:
    guesses.right("192.0.2.1", "mine")
    _guess(guesses)
    guesses.check("192.0.2.1", "mine")
    with pytest.raises(TooManyGuesses):
        guesses.check("192.0.2.1", "not mine")


def test_wrong_links_now_and_then_keep_nobody_out(guesses: Guesses, clock: Clock) -> None:
    for _ in range(5 * WRONG):
        guesses.check("192.0.2.1", "old link")
        guesses.wrong("192.0.2.1")
        clock.now += WITHIN / (WRONG - 1)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("", "", True),
    ],
)
def test_customer_counts_as_one_address(guesses: Guesses, one: str, other: str, same: bool) -> None:
    _guess(guesses, one)
    if not same:
        guesses.check(other, "x")
        return
    with pytest.raises(TooManyGuesses):
        guesses.check(other, "x")


def test_what_is_remembered_is_bounded(guesses: Guesses, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hub_page.desk.guesses._ADDRESSES", 3)
    monkeypatch.setattr("hub_page.desk.guesses._KNOWN", 3)
    for number in range(10):
        _guess(guesses, f"192.0.2.{number}")
        guesses.right(f"192.0.2.{number}", "mine")
    guesses.check("192.0.2.0", "forgotten")
    with pytest.raises(TooManyGuesses):
        guesses.check("192.0.2.9", "remembered")
    guesses.check("192.0.2.9", "mine")


async def test_guessing_links_is_answered_with_wait_and_looks_at_nothing(desk: Any) -> None:
    desk.put_order()
    link = desk.link()
    for number in range(WRONG):
        assert (await desk.http.get(f"/p/jinyao/guess{number}")).status_code == 404
    answer = await desk.http.get(link)
    assert (answer.status_code, "请稍后再试" in answer.text) == (429, True)
    assert 0 < int(answer.headers["retry-after"]) <= WITHIN
    assert (await desk.api("GET", "/status")).status_code == 200


async def test_person_with_a_link_is_not_kept_out_by_a_neighbours_guesses(desk: Any) -> None:
    ticket = desk.put_order()
    page = await desk.page(ticket)
    for number in range(WRONG + 1):
        await desk.http.get(f"/p/jinyao/guess{number}")
    assert (await desk.press(page, "/accept")).status_code == 303
    assert (await desk.http.post("/p/jinyao/guess/orders/x/accept")).status_code == 429
