"""One Chromium for all browser tests. A missing browser is a failure, not a skip."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, async_playwright, expect

from hub.testing.kit import PATIENCE

REPOSITORY = Path(__file__).parents[2]
ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of the browser; installs one when there is none."""
    found = subprocess.run([REPOSITORY / "deploy" / "install-browser", "--path"], capture_output=True, text=True, check=False)
    assert found.returncode == 0, f"no browser to test with: {found.stderr}"
    return found.stdout.strip()


@pytest.fixture(scope="session", autouse=True)
def patient() -> None:
    """What a page shall show is waited for as long as everything else in the tests."""
    expect.set_options(timeout=PATIENCE * 1000)


@pytest.fixture
async def browser(chromium: str) -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=list(ARGUMENTS))
        yield browser
        await browser.close()


@pytest.fixture
async def phone(browser: Browser) -> AsyncIterator[Page]:
    """A page as large as a phone, in Chinese, without JavaScript."""
    context = await browser.new_context(
        viewport={"width": 390, "height": 844},
        device_scale_factor=2,
        is_mobile=True,
        has_touch=True,
        locale="zh-CN",
        timezone_id="Asia/Shanghai",
        java_script_enabled=False,
    )
    context.set_default_timeout(PATIENCE * 1000)
    page = await context.new_page()
    yield page
    await context.close()
