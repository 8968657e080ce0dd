"""A gardener with a phone: resolves too early, takes it back, resolves again; the hub hears of it once, not where the photo was taken."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from hub_page import PageAdapter
from hub_page.simulator import adapter_settings
from playwright.async_api import Page, expect

from hub import Adapter, Feedback, FeedbackKind
from hub.testing.kit import Inbox, eventually, open_inbox, running_adapter, sample_assignment
from hub.testing.process import SimulatorProcess

SECRET = "browser-test-secret"
PHOTO = Path(__file__).parents[2] / "plugins" / "page" / "tests" / "photos" / "baseline.jpg"
"""Lies on its side, and names place, maker and owner."""


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[SimulatorProcess]:
    """The desk with nobody but us at its pages."""
    options = ("--idle", "--undo", "10")
    with SimulatorProcess("hub_page.simulator", tmp_path / "desk", secret=SECRET, options=options) as process:
        yield process


@pytest.fixture
async def inbox(desk: SimulatorProcess) -> AsyncIterator[Inbox]:
    async with open_inbox() as inbox:
        desk.call_back_to(inbox.url)
        async with running_adapter(PageAdapter, adapter_settings(desk.url, SECRET), timeout=5) as adapter:
            inbox.adapter = adapter
            yield inbox


@pytest.fixture
async def adapter(inbox: Inbox) -> Adapter:
    assert inbox.adapter is not None
    return inbox.adapter


async def _look(page: Page, tmp_path: Path, name: str) -> None:
    """Nothing sticks out sideways; a screenshot for people."""
    await page.screenshot(path=tmp_path / f"{name}.png", full_page=True)
    body = await page.locator("body").bounding_box()
    assert body is not None
    assert body["width"] <= 390, "the page is wider than the phone"


async def _resolve(phone: Page, result: str) -> None:
    await phone.get_by_label("办结").fill(result)
    await phone.get_by_role("button", name="下一步：核对并办结").click()
    await phone.get_by_role("button", name="确认办结").click()


async def test_result_is_taken_back_and_reported_once(
    phone: Page, desk: SimulatorProcess, adapter: Adapter, inbox: Inbox, tmp_path: Path
) -> None:
    assignment = sample_assignment(
        unit="landscaping", area="320113001001001", title="行道树倾倒压住人行道", task="清理倒伏树木"
    )
    await adapter.deliver(assignment)
    await phone.goto(f"{desk.url}{desk.control('GET', '/_sim/links')['links']['landscaping-yaohua']}")
    await expect(phone.get_by_text("园林尧化片区养护班")).to_be_visible()
    await _look(phone, tmp_path, "1-list")
    await phone.get_by_text(assignment.title).click()
    await phone.get_by_role("button", name="签收工单").click()
    await phone.get_by_label("拍照或从相册选择").set_input_files(PHOTO)
    await phone.get_by_role("button", name="上传照片").click()
    photo = phone.get_by_alt_text("待提交照片 1")
    await expect(photo).to_be_visible()
    await _look(phone, tmp_path, "2-photo")

    await _resolve(phone, "已清理，写早了")
    await expect(phone.get_by_text("秒后上报指挥中心")).to_be_visible()
    await _look(phone, tmp_path, "3-undo")
    await phone.get_by_role("button", name="撤销办结").click()
    await expect(phone.get_by_role("status")).to_contain_text("已撤销办结")
    await expect(phone.get_by_label("办结", exact=True)).to_have_value("已清理，写早了")
    await expect(photo).to_be_visible()
    await _look(phone, tmp_path, "4-undone")

    await _resolve(phone, "树木已清运，人行道恢复通行")
    await expect(phone.get_by_role("button", name="撤销办结")).to_be_visible()
    await expect(phone.get_by_text("本工单已办结")).to_be_visible()
    await expect(phone.get_by_role("button", name="撤销办结")).to_have_count(0)
    await _look(phone, tmp_path, "5-resolved")

    await eventually(lambda: len(inbox.items) >= 2)
    reports = [item for item in inbox.items if isinstance(item, Feedback)]
    assert [report.kind for report in reports] == [FeedbackKind.ACCEPTED, FeedbackKind.RESOLVED]
    assert reports[1].note == "树木已清运，人行道恢复通行"
    (file,) = reports[1].files
    assert file.media_type == "image/jpeg"
    assert b"SECRET" in PHOTO.read_bytes()
    assert b"SECRET" not in file.content


async def test_photo_is_shown_the_right_way_up(phone: Page, desk: SimulatorProcess, adapter: Adapter, tmp_path: Path) -> None:
    await adapter.deliver(sample_assignment(unit="mediation"))
    await phone.goto(f"{desk.url}{desk.control('GET', '/_sim/links')['links']['mediation']}")
    await phone.locator(".card").click()
    await phone.get_by_role("button", name="签收工单").click()
    await phone.get_by_label("拍照或从相册选择").set_input_files(PHOTO)
    await phone.get_by_role("button", name="上传照片").click()
    address = await phone.get_by_alt_text("待提交照片 1").get_attribute("src")
    await phone.goto(f"{desk.url}{address}")
    box = await phone.locator("img").bounding_box()
    assert box is not None
    assert box["height"] > box["width"], "stored 32 x 16, taken upright"


async def test_guessing_links_ends_in_a_page_that_says_wait(phone: Page, desk: SimulatorProcess, tmp_path: Path) -> None:
    for number in range(11):
        answer = await phone.goto(f"{desk.url}/p/landscaping/guess{number}")
    assert answer is not None
    assert answer.status == 429
    await expect(phone.get_by_text("请稍后再试")).to_be_visible()
    await _look(phone, tmp_path, "wait")
