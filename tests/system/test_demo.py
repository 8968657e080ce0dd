"""The demo as a stranger runs it: a real process, real simulators; killed in the middle and started again."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

ROOT = Path(__file__).resolve().parents[2]
REQUESTS = 40
MATTERS = (
    ("路灯不亮", "迈皋桥广场旁路灯三天不亮"),
    ("下水道堵塞", "尧化社区小区门口下水道堵塞，污水外溢"),
    ("夜间噪音扰民", "仙林中心附近烧烤店深夜噪音扰民"),
    ("家里停水", "燕子矶老街从早上开始停水"),
    ("占道经营", "晓庄广场周边流动摊贩占道经营"),
    ("电梯故障", "尧林仙居小区3栋电梯故障困扰居民"),
    ("拖欠工资", "栖霞山工地拖欠农民工工资两个月"),
    ("咨询医保", "请问医保异地报销怎么办理"),
)


class DemoProcess:
    """`hub up --demo …` as a child; killed with everything it started when the test ends."""

    def __init__(self, data: Path, *arguments: str) -> None:
        self.data = data
        command = [str(Path(sys.executable).with_name("hub")), "up", "--demo", "--data", str(data), *arguments]
        self.child = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, "HUB_API__PORT": "0", "HUB_NATS__PORT": "0"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def kill(self) -> None:
        """SIGKILL, as a power failure of the process would."""
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGKILL)
        self.child.communicate()

    def outcome(self, within: float) -> dict[str, Any]:
        """The JSON object it prints at its end."""
        output, errors = self.child.communicate(timeout=within)
        assert self.child.returncode == 0, errors + output + self.log()
        answer: dict[str, Any] = json.loads(output)
        return answer

    def log(self) -> str:
        """The end of the hub's log."""
        file = self.data / "logs" / "hub.log"
        return file.read_text()[-3000:] if file.exists() else ""

    def summary(self) -> dict[str, Any] | None:
        """What the running hub says of itself; None while it doesn't answer."""
        try:
            url = json.loads((self.data / "runtime.json").read_text())["api"]
            token = (self.data / "admin.token").read_text().strip()
            answer = httpx.get(f"{url}/api/v1/summary", headers={"Authorization": f"Bearer {token}"}, trust_env=False)
        except (OSError, ValueError, httpx.HTTPError):
            return None
        found: dict[str, Any] = answer.json()
        return found if answer.is_success else None


@pytest.fixture
def requests(tmp_path: Path) -> Path:
    """A file of requests of the project's own writing."""
    file = tmp_path / "requests.csv"
    rows = [f"{number},,{title}{number},{text}（{number}）,0,0" for number, (title, text) in enumerate(MATTERS * 5)]
    file.write_text("id,created_at,title,text,support,against\n" + "\n".join(rows[:REQUESTS]) + "\n", encoding="utf-8")
    return file


@pytest.fixture
def start(tmp_path: Path, requests: Path) -> Iterator[Callable[..., DemoProcess]]:
    """Start a demo on the test's data directory."""
    started: list[DemoProcess] = []

    def begin(*arguments: str) -> DemoProcess:
        demo = DemoProcess(tmp_path / "data", "--replay", str(requests), "--exit", "--json", "--pace", "0.05", *arguments)
        started.append(demo)
        return demo

    yield begin
    for demo in started:
        demo.kill()


def wait_for(holds: Callable[[], bool], within: float, what: str) -> None:
    give_up = time.monotonic() + within
    while not holds():
        assert time.monotonic() < give_up, f"not within {within} s: {what}"
        time.sleep(0.05)


def simulators_of(data: Path) -> list[int]:
    return [int(file.read_text()) for file in (data / "simulators").glob("*.pid")]


def ports_of(data: Path) -> tuple[object, object]:
    state = json.loads((data / "demo.json").read_text())
    return state["api_port"], state["ports"]


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[-1].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.timeout(300)
def test_a_killed_demo_goes_on_and_files_nothing_twice(start: Callable[..., DemoProcess], tmp_path: Path) -> None:
    first = start()
    wait_for(lambda: int((first.summary() or {}).get("cases", 0)) >= REQUESTS // 3, 90, "a third of the requests are cases")
    pids = simulators_of(first.data)
    assert len(pids) == 4
    kept = ports_of(first.data)
    second = start()
    said = second.child.communicate(timeout=60)[1]
    assert (second.child.returncode, "another hub runs on" in said) == (1, True), said
    assert simulators_of(first.data) == pids, "a demo that may not run touches nothing of the one that does"
    assert ports_of(first.data) == kept
    first.kill()
    wait_for(lambda: not any(lives(pid) for pid in pids), 10, "no simulator outlives the demo")

    answer = start().outcome(within=200)
    assert answer["cases"] == REQUESTS
    assert answer["cases"] == answer["closed"] + answer["open"] + answer["dead"] + answer["void"]
    assert answer["open"] == 0
    assert answer["doubled"] == 0
    assert answer["refused"] == 0
    assert answer["tickets"] > 0


@pytest.mark.timeout(300)
def test_the_four_stories_come_out_right(start: Callable[..., DemoProcess]) -> None:
    answer = start("--scenes", "--limit", "1").outcome(within=280)
    assert answer["scenes"] == {"sewer": True, "noise": True, "gas": True, "outage": True}
