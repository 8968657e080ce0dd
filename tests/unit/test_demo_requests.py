"""The demo's requests file: which CSV is taken, and how a bad one is refused."""

from pathlib import Path

import pytest

from hub.config.requests import channel_of, file_key, read_requests
from hub.demo import SHIPPED
from hub.errors import ConfigError
from hub.model.case.state import Channel


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "requests.csv"
    file.write_text(text, encoding="utf-8")
    return file


def test_rows_are_read_with_and_without_time_and_votes(tmp_path: Path) -> None:
    file = written(
        tmp_path,
        "id,created_at,title,text,support,against\n"
        "1,2019-01-01T02:20:10+08:00,路灯不亮,三天没亮了,5,1\n"
        "2,,井盖破损,小心,,\n"
        '3,2019-01-02T00:00:00,"多行","第一行\n第二行",0,0\n',
    )
    first, second, third = read_requests(file)
    assert first.created_at is not None
    assert first.created_at.isoformat() == "2019-01-01T02:20:10+08:00"
    assert (first.support, first.against) == (5, 1)
    assert second.created_at is None
    assert (second.support, second.against) == (0, 0)
    assert third.text == "第一行\n第二行"
    assert third.created_at is not None
    assert third.created_at.tzinfo is not None


def test_votes_columns_may_be_missing_and_limit_stops_early(tmp_path: Path) -> None:
    file = written(tmp_path, "id,created_at,title,text\n1,,a,b\n2,,c,d\n3,not a time,e,f\n")
    assert [request.id for request in read_requests(file, limit=2)] == ["1", "2"]


@pytest.mark.parametrize(
    ("text", "line", "key"),
    [
        ("", 1, "id"),
        ("id,created_at,text\n1,,b\n", 1, "title"),
        ("id,title,text\n1,,b\n", 2, "title"),
        ("id,created_at,title,text\n1,,a,b\n2,yesterday,c,d\n", 3, "created_at"),
        ("id,title,text,support\n1,a,b,many\n", 2, "support"),
        ("id,title,text,support,against\n1,a,b,1,-4\n", 2, "against"),
        ("id,title,text\n1,a,b\n1,c,d\n", 3, "id"),
    ],
)
def test_a_bad_file_is_refused_with_line_and_column(tmp_path: Path, text: str, line: int, key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_requests(written(tmp_path, text))
    assert (caught.value.line, caught.value.key) == (line, key)
    assert "requests.csv" in str(caught.value)


def test_a_file_that_is_not_there_or_not_utf8_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="can't be read"):
        read_requests(tmp_path / "none.csv")
    (tmp_path / "gbk.csv").write_bytes("id,title,text\n1,路灯,不亮\n".encode("gbk"))
    with pytest.raises(ConfigError, match="not UTF-8"):
        read_requests(tmp_path / "gbk.csv")


def test_a_row_always_comes_by_the_same_channel_and_most_by_the_hotline() -> None:
    channels = [channel_of(str(number)) for number in range(1000)]
    assert channels == [channel_of(str(number)) for number in range(1000)]
    assert channels.count(Channel.HOTLINE) > 600
    assert {Channel.HOTLINE, Channel.RESIDENT, Channel.PATROL, Channel.DEVICE} == set(channels)


def test_the_key_of_a_file_follows_its_content(tmp_path: Path) -> None:
    first = file_key(written(tmp_path, "id,title,text\n1,a,b\n"))
    assert first == file_key(written(tmp_path, "id,title,text\n1,a,b\n"))
    assert first != file_key(written(tmp_path, "id,title,text\n1,a,c\n"))


def test_the_shipped_requests_are_a_few_hundred() -> None:
    assert 200 <= len(read_requests(SHIPPED)) <= 1000
