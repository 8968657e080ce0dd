"""A property manager with a phone: opens the link, accepts, uploads a photo, resolves; the hub hears of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hub_page.people import scene
from hub_property import PropertyAdapter
from hub_property.simulator import adapter_settings
from playwright.async_api import Page, expect

from hub import Adapter, Assignment, Feedback, FeedbackKind, Severity
from hub.testing.kit import Inbox, eventually, open_inbox, running_adapter, sample_assignment
from hub.testing.process import SimulatorProcess

SECRET = "browser-test-secret"
COMPANY = "jinyao"


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[SimulatorProcess]:
    """The desk with nobody but us at its pages."""
    with SimulatorProcess(
        "hub_property.simulator", tmp_path / "desk", secret=SECRET, options=("--idle", "--undo", "3")
    ) as process:
        yield process


@pytest.fixture
async def inbox(desk: SimulatorProcess) -> AsyncIterator[Inbox]:
    async with open_inbox() as inbox:
        desk.call_back_to(inbox.url)
        async with running_adapter(PropertyAdapter, adapter_settings(desk.url, SECRET), timeout=5) as adapter:
            inbox.adapter = adapter
            yield inbox


@pytest.fixture
async def adapter(inbox: Inbox) -> Adapter:
    assert inbox.adapter is not None
    return inbox.adapter


def _order(**changes: object) -> Assignment:
    return sample_assignment(unit="property", area="320113001001001", **changes)


def _link(desk: SimulatorProcess) -> str:
    return f"{desk.url}{desk.control('GET', '/_sim/links')['links'][COMPANY]}"


def _states(desk: SimulatorProcess) -> list[str]:
    return [str(ticket["state"]) for ticket in desk.tickets()]


def _photo(tmp_path: Path, name: str = "现场.png") -> Path:
    path = tmp_path / name
    path.write_bytes(scene(1, width=640, height=480))
    return path


async def _look(page: Page, tmp_path: Path, name: str) -> None:
    """Nothing sticks out sideways; a screenshot for people."""
    await page.screenshot(path=tmp_path / f"{name}.png", full_page=True)
    body = await page.locator("body").bounding_box()
    assert body is not None
    assert body["width"] <= 390, "the page is wider than the phone"


async def test_manager_accepts_uploads_a_photo_and_resolves(
    phone: Page, desk: SimulatorProcess, adapter: Adapter, inbox: Inbox, tmp_path: Path
) -> None:
    assignment = _order()
    receipt = await adapter.deliver(assignment)
    await adapter.deliver(_order(title="楼道灯不亮，晚上上下楼不安全", severity=Severity.MINOR, place="尧佳路7号3幢"))

    await phone.goto(_link(desk))
    await expect(phone.get_by_text("金尧花园物业服务处")).to_be_visible()
    await _look(phone, tmp_path, "1-list")
    await phone.get_by_text(assignment.title).click()
    await expect(phone.get_by_role("heading", name=assignment.title)).to_be_visible()
    await expect(phone.get_by_text("疏通管道并清理现场")).to_be_visible()
    await _look(phone, tmp_path, "2-received")

    await phone.get_by_role("button", name="签收工单").click()
    await expect(phone.get_by_role("status")).to_contain_text("已签收")

    await phone.get_by_label("拍照或从相册选择").set_input_files(_photo(tmp_path))
    await phone.get_by_role("button", name="上传照片").click()
    await expect(phone.get_by_alt_text("待提交照片 1")).to_be_visible()
    await _look(phone, tmp_path, "3-photo")

    await phone.get_by_label("填写进展").fill("疏通队已到场")
    await phone.get_by_role("button", name="提交进展").click()
    await expect(phone.get_by_alt_text("已提交照片 1")).to_be_visible()

    await phone.get_by_label("拍照或从相册选择").set_input_files(_photo(tmp_path))
    await phone.get_by_role("button", name="上传照片").click()
    await phone.get_by_label("办结").fill("管道已疏通，污水已清理")
    await phone.get_by_role("button", name="下一步：核对并办结").click()
    await expect(phone.get_by_role("heading", name="确认办结吗？")).to_be_visible()
    await _look(phone, tmp_path, "4-confirm")
    assert "in_progress" in _states(desk), "nothing is resolved before it is confirmed"

    await phone.get_by_role("button", name="返回修改").click()
    await expect(phone.get_by_label("办结")).to_have_value("管道已疏通，污水已清理")
    await phone.get_by_role("button", name="下一步：核对并办结").click()
    await phone.get_by_role("button", name="确认办结").click()
    await expect(phone.get_by_text("本工单已办结")).to_be_visible()
    await _look(phone, tmp_path, "5-resolved")

    await eventually(lambda: len(inbox.items) == 3)
    reports = [item for item in inbox.items if isinstance(item, Feedback)]
    assert [report.kind for report in reports] == [FeedbackKind.ACCEPTED, FeedbackKind.PROGRESS, FeedbackKind.RESOLVED]
    assert {(report.key, report.ticket) for report in reports} == {(assignment.key, receipt.ticket)}
    assert (reports[2].note, reports[2].by) == ("管道已疏通，污水已清理", "金尧花园物业服务处")
    (photo,) = reports[2].files
    assert (photo.name, photo.media_type, photo.content) == ("照片1.png", "image/png", _photo(tmp_path).read_bytes())
    assert sorted(_states(desk)) == ["received", "resolved"]


async def test_manager_gives_an_order_back_with_a_reason(
    phone: Page, desk: SimulatorProcess, adapter: Adapter, inbox: Inbox, tmp_path: Path
) -> None:
    await adapter.deliver(_order())
    await phone.goto(_link(desk))
    await phone.locator(".card").click()
    await phone.get_by_text("退回工单").click()
    await phone.get_by_role("radio", name="其他原因").check()
    await phone.get_by_role("button", name="退回指挥中心").click()
    await expect(phone.get_by_role("alert")).to_contain_text("请写明原因")
    await phone.get_by_role("radio", name="其他原因").check()
    await phone.get_by_label("补充说明").fill("该路段由市政养护")
    await _look(phone, tmp_path, "return")
    await phone.get_by_role("button", name="退回指挥中心").click()
    await expect(phone.get_by_text("本工单已退回")).to_be_visible()
    await eventually(lambda: len(inbox.items) == 1)
    report = inbox.items[0]
    assert isinstance(report, Feedback)
    assert (report.kind, report.note) == (FeedbackKind.RETURNED, "该路段由市政养护")


async def test_urged_order_has_a_red_mark_and_comes_first(
    phone: Page, desk: SimulatorProcess, adapter: Adapter, tmp_path: Path
) -> None:
    late = datetime.now(UTC) - timedelta(hours=1)
    await adapter.deliver(_order(title="燃气味很浓", severity=Severity.URGENT))
    urged = _order(title="门禁坏了三天", accept_by=late)
    receipt = await adapter.deliver(urged)
    await adapter.urge(_order(key=urged.key, ticket=receipt.ticket), "居民再次来电，请尽快处理")
    await phone.goto(_link(desk))
    first = phone.locator(".card").first
    await expect(first).to_contain_text("门禁坏了三天")
    await expect(first).to_contain_text("催办")
    await expect(first).to_contain_text("已超时")
    await _look(phone, tmp_path, "urged-list")
    await first.click()
    await expect(phone.get_by_role("alert")).to_contain_text("居民再次来电")
    await _look(phone, tmp_path, "urged-order")


async def test_page_with_an_order_taken_back_meanwhile_does_nothing(
    phone: Page, desk: SimulatorProcess, adapter: Adapter, inbox: Inbox, tmp_path: Path
) -> None:
    assignment = _order()
    await adapter.deliver(assignment)
    await phone.goto(_link(desk))
    await phone.locator(".card").click()
    await adapter.recall(assignment, "派错单位")
    await phone.get_by_role("button", name="签收工单").click()
    await expect(phone.get_by_text("刚才的操作没有执行")).to_be_visible()
    await expect(phone.get_by_text("已由指挥中心撤回")).to_be_visible()
    await _look(phone, tmp_path, "recalled")
    assert (_states(desk), inbox.items) == (["recalled"], [])


async def test_file_that_is_no_photo_is_explained(
    phone: Page, desk: SimulatorProcess, adapter: Adapter, tmp_path: Path
) -> None:
    await adapter.deliver(_order())
    await phone.goto(_link(desk))
    await phone.locator(".card").click()
    await phone.get_by_role("button", name="签收工单").click()
    page = tmp_path / "photo.jpg"
    page.write_bytes(b"<html><script>alert(1)</script></html>")
    await phone.get_by_label("拍照或从相册选择").set_input_files(page)
    await phone.get_by_role("button", name="上传照片").click()
    await expect(phone.get_by_role("alert")).to_contain_text("不是照片")
    await _look(phone, tmp_path, "no-photo")


async def test_empty_list_and_wrong_link_say_so(phone: Page, desk: SimulatorProcess, adapter: Adapter, tmp_path: Path) -> None:
    assignment = _order()
    await adapter.deliver(assignment)
    await adapter.recall(assignment, "重复")
    link = _link(desk)
    await phone.goto(link)
    await expect(phone.get_by_text("没有待办工单")).to_be_visible()
    await _look(phone, tmp_path, "empty")
    answer = await phone.goto(link[:-1] + ("A" if link[-1] != "A" else "B"))
    assert answer is not None
    assert answer.status == 404
    await expect(phone.get_by_text("链接无效")).to_be_visible()
    await _look(phone, tmp_path, "wrong-link")
