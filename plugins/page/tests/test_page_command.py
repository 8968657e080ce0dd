"""The command line of the desk: links, QR codes, words of its own, and the desk as a process."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from hub_page.desk.command import UNDO_FOR, Flavour, main
from hub_page.desk.wording import Wording, WordingWrong

from hub.testing.kit import eventually

SECRET = "desk-test-secret"


def _run(*arguments: str) -> int:
    return main(Flavour(), arguments, environment={})


def test_links_are_handed_out_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = ["--data", str(tmp_path), "--public-url", "https://gd.example.gov.cn"]
    assert _run(*data, "link", "gardens", "园林绿化养护队") == 0
    first = capsys.readouterr().out
    assert first.startswith("gardens\t园林绿化养护队\thttps://gd.example.gov.cn/p/gardens/")
    assert _run(*data, "links") == 0
    assert capsys.readouterr().out == first
    assert _run(*data, "renew", "gardens") == 0
    assert capsys.readouterr().out != first
    assert _run(*data, "close", "gardens") == 0
    assert _run(*data, "links") == 0
    assert capsys.readouterr().out == ""
    assert _run(*data, "open", "gardens") == 0
    assert _run(*data, "resend") == 0
    assert capsys.readouterr().out == "0\n"
    for wrong in (["renew", "nobody"], ["close", "nobody"], ["link", "Bad Code", "x"]):
        assert _run(*data, *wrong) == 2


def test_link_comes_as_a_code_to_photograph_and_as_a_sheet_to_print(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = ["--data", str(tmp_path), "--public-url", "https://gd.example.gov.cn"]
    assert _run(*data, "link", "gardens", "园林<队>", "--qr") == 0
    line, _, code = capsys.readouterr().out.partition("\n")
    assert len(code.splitlines()) > 15
    assert "█" in code or "▄" in code
    sheet = tmp_path / "sheet.html"
    assert _run(*data, "sheet", str(sheet)) == 0
    page = sheet.read_text("utf-8")
    assert "园林&lt;队&gt;" in page
    assert line.split("\t")[2] in page
    assert page.count("<svg") == 1
    assert "<script" not in page
    assert sheet.stat().st_mode & 0o077 == 0, "who has the sheet has the pages"


def test_desk_without_a_secret_or_with_one_that_cannot_sign_does_not_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ["--data", str(tmp_path)]
    assert main(Flavour(), data, environment={}) == 2
    assert "PAGE_DESK_SECRET is not set" in capsys.readouterr().err
    assert main(Flavour(), data, environment={"PAGE_DESK_SECRET": "whsec_äöü"}) == 2
    assert "äöü" not in capsys.readouterr().err


@pytest.mark.parametrize("undo", ["-1", "601", "soon", "nan"])
def test_undo_takes_seconds_only(undo: str, tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        _run("--data", str(tmp_path), "--undo", undo, "links")


def test_desk_may_have_words_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "words.toml"
    file.write_text('title = "园林工单"\nown = "我队"\nreasons = ["不在养护范围"]\n', "utf-8")
    words = Wording.load(file)
    assert (words.title, words.own, words.choices) == ("园林工单", "我队", ("不在养护范围", "其他原因"))
    assert words.dispatcher == Wording().dispatcher


@pytest.mark.parametrize(
    ("text", "says"),
    [("titel = 'x'", "titel"), ("title = ''", "title"), ("title = ", "Invalid value"), ("reasons = [1]", "reasons.0")],
)
def test_words_that_cannot_be_used_name_file_and_key(
    text: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "words.toml"
    file.write_text(text, "utf-8")
    assert _run("--data", str(tmp_path), "--wording", str(file), "links") == 2
    problem = capsys.readouterr().err
    assert str(file) in problem
    assert says in problem
    with pytest.raises(WordingWrong):
        Wording.load(tmp_path / "none.toml")


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """`python -m hub_page.desk` as it is run beside the hub; its address."""
    words = tmp_path / "words.toml"
    words.write_text('title = "园林工单"', "utf-8")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "hub_page.desk", "--data", str(tmp_path / "desk"), "--port", str(port)]
    environment = {**os.environ, "PAGE_DESK_SECRET": SECRET, "PAGE_DESK_FORMER_SECRET": "former"}
    with subprocess.Popen([*command, "--wording", str(words)], env=environment, stderr=subprocess.PIPE) as process:
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.send_signal(signal.SIGTERM)
            _, errors = process.communicate(timeout=10)
    assert process.returncode in (0, -signal.SIGTERM), errors
    assert b"Traceback" not in errors
    assert b"no --callback-url" in errors
    assert b"/p/gardens" not in errors, "no link's token in the log"


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


async def test_desk_serves_itself(served: str) -> None:
    await eventually(lambda: _answers(f"{served}/"))
    async with httpx.AsyncClient(base_url=served, trust_env=False) as http:
        assert "园林工单" in (await http.get("/")).text
        for secret, status in ((SECRET, 200), ("former", 200), ("other", 401)):
            answer = await http.get("/api/v1/status", headers={"authorization": f"Bearer {secret}"})
            assert answer.status_code == status
        assert (await http.get("/p/gardens/guess")).status_code == 404


def test_undo_is_on_by_default() -> None:
    assert UNDO_FOR == 20
