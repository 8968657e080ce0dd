"""The person's pages: who gets in, what a form may do, what an upload may be."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest
from hub_page.desk.images import NotAPhoto, check_image
from hub_page.desk.links import Links
from hub_page.desk.orders import OrderState, Step, after
from hub_page.messages import MOST_PHOTO, MOST_PHOTOS
from hub_page.people import scene
from hypothesis import given
from hypothesis import strategies as st


async def test_page_opens_with_the_personal_link_only(desk: Any) -> None:
    desk.put_order()
    link = desk.link()
    assert (await desk.http.get(link)).status_code == 200
    stem, _, token = link.rpartition("/")
    for wrong in (f"{stem}/x", f"{stem}/{token}A", f"/p/other/{token}", f"{stem}/%ff%fe"):
        answer = await desk.http.get(wrong)
        assert answer.status_code == 404
        assert "链接无效" in answer.text


async def test_renewed_link_makes_the_old_one_worthless(desk: Any) -> None:
    desk.put_order()
    old = desk.link()
    assert desk.store.renew_link("jinyao")
    assert (await desk.http.get(old)).status_code == 404
    assert (await desk.http.get(desk.link())).status_code == 200


async def test_team_sees_its_own_orders_only(desk: Any) -> None:
    own = desk.put_order()
    other = desk.put_order(key="320113001001001-0123456789abcdef.a2", team={"id": "other", "name": "别家物业"})
    page = await desk.http.get(desk.link())
    assert own in page.text
    assert other not in page.text
    assert (await desk.http.get(f"{desk.link()}/orders/{other}")).status_code == 404


async def test_what_the_hub_sends_is_escaped(desk: Any) -> None:
    evil = "<script>alert(1)</script>\"'&"
    ticket = desk.put_order(title=evil, text=evil, place=evil, task=evil, area_path=[evil], category_name=evil)
    desk.store.urge(ticket, evil)
    for page in (await desk.http.get(desk.link()), await desk.page(ticket)):
        assert "<script" not in page.text
        assert "&lt;script&gt;" in page.text


async def test_a_position_is_shown_as_given_with_a_link_to_the_map(desk: Any) -> None:
    given = {"longitude": 118.9175, "latitude": 32.1009, "system": "gcj02", "accuracy_m": 10}
    placed = desk.put_order(position=given, wgs84={"longitude": 118.9123, "latitude": 32.1031})
    page = (await desk.page(placed)).text
    assert "118.9175,32.1009（GCJ02）" in page
    assert 'href="geo:32.1031,118.9123"' in page
    local = desk.put_order(key="320113001001001-0123456789abcdef.a3", position={**given, "system": "nanjing"})
    assert "geo:" not in (await desk.page(local)).text


async def test_every_answer_forbids_scripts_frames_and_storing(desk: Any) -> None:
    ticket = desk.put_order()
    for answer in (
        await desk.page(ticket),
        await desk.http.get("/p/a/b"),
        await desk.http.get("/"),
        await desk.api("GET", "/x"),
    ):
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "same-origin"
        assert answer.headers["cache-control"] == "no-store"


async def test_page_needs_no_script_and_nothing_from_elsewhere(desk: Any) -> None:
    page = (await desk.page(desk.put_order())).text
    assert not re.search(r"<script|\son\w+=|style=|https?://", page)


async def test_form_without_its_token_does_nothing(desk: Any) -> None:
    ticket = desk.put_order()
    for form in ("", "0.forged", "zero", "²."):
        answer = await desk.http.post(f"{desk.link()}/orders/{ticket}/accept", data={"form": form})
        assert answer.status_code == 403
    assert desk.store.order(ticket).state is OrderState.RECEIVED


async def test_form_of_another_order_or_another_site_does_nothing(desk: Any) -> None:
    ticket = desk.put_order()
    other = desk.put_order(key="320113001001001-0123456789abcdef.a2")
    token = re.search(r'name="form" value="([^"]+)"', (await desk.page(other)).text)
    assert token
    address = f"{desk.link()}/orders/{ticket}/accept"
    assert (await desk.http.post(address, data={"form": token[1]})).status_code == 403
    own = re.search(r'name="form" value="([^"]+)"', (await desk.page(ticket)).text)
    assert own
    answer = await desk.http.post(address, data={"form": own[1]}, headers={"sec-fetch-site": "cross-site"})
    assert answer.status_code == 403
    assert desk.store.order(ticket).state is OrderState.RECEIVED


async def test_button_pressed_twice_does_its_work_once(desk: Any) -> None:
    ticket = desk.put_order()
    page = await desk.page(ticket)
    assert (await desk.press(page, "/accept")).status_code == 303
    again = await desk.press(page, "/accept")
    assert again.status_code == 409
    assert "刚才的操作没有执行" in again.text
    assert [line.kind for line in desk.store.history(ticket)] == ["received", "accepted"]


async def test_text_typed_on_an_old_page_is_kept(desk: Any) -> None:
    ticket = desk.put_order()
    await desk.press(await desk.page(ticket), "/accept")
    old = await desk.page(ticket)
    await desk.press(old, "/progress", note="第一次")
    answer = await desk.press(old, "/progress", note="第二次写的话")
    assert answer.status_code == 409
    assert "第二次写的话" in answer.text


async def test_nothing_is_resolved_before_it_is_confirmed(desk: Any) -> None:
    ticket = desk.put_order()
    await desk.press(await desk.page(ticket), "/accept")
    asked = await desk.press(await desk.page(ticket), "/resolve", note="已疏通")
    assert "确认办结吗" in asked.text
    assert desk.store.order(ticket).state is OrderState.ACCEPTED
    assert (await desk.press(asked, "/resolve", confirm="yes")).status_code == 303
    assert desk.store.order(ticket).state is OrderState.RESOLVED


@pytest.mark.parametrize(
    ("typed", "says"),
    [({}, "请选择退回原因"), ({"reason": "9"}, "请选择退回原因"), ({"reason": "4"}, "请写明原因"), ({"reason": "²"}, "请选择")],
)
async def test_order_is_not_given_back_without_a_reason(typed: dict[str, str], says: str, desk: Any) -> None:
    ticket = desk.put_order()
    answer = await desk.press(await desk.page(ticket), "/return", **typed)
    assert answer.status_code == 422
    assert says in answer.text
    assert desk.store.order(ticket).state is OrderState.RECEIVED


@pytest.mark.parametrize("note", ["", "  \n ", "长" * 1001])
async def test_report_needs_words_and_not_too_many(note: str, desk: Any) -> None:
    ticket = desk.put_order()
    await desk.press(await desk.page(ticket), "/accept")
    assert (await desk.press(await desk.page(ticket), "/progress", note=note)).status_code == 422


async def test_photo_is_shown_before_it_is_sent_and_can_be_removed(desk: Any) -> None:
    ticket = desk.put_order()
    await desk.press(await desk.page(ticket), "/accept")
    assert (await desk.press(await desk.page(ticket), "/photos", photo=desk.png)).status_code == 303
    page = await desk.page(ticket)
    address = re.search(r'<img src="([^"]+)"', page.text)
    assert address
    shown = await desk.http.get(address[1])
    assert (shown.content, shown.headers["content-type"]) == (desk.png, "image/png")
    assert (await desk.press(page, "/remove")).status_code == 303
    assert (await desk.http.get(address[1])).status_code == 404
    assert "evil" not in page.text


async def test_photo_is_for_its_team_only(desk: Any) -> None:
    ticket = desk.put_order()
    await desk.press(await desk.page(ticket), "/accept")
    photo = desk.store.add_photo(ticket, check_image(desk.png))
    other = desk.put_order(key="320113001001001-0123456789abcdef.a2")
    assert (await desk.http.get(f"{desk.link()}/orders/{other}/photos/{photo}")).status_code == 404


async def test_photos_of_one_report_are_limited(desk: Any) -> None:
    ticket = desk.put_order()
    await desk.press(await desk.page(ticket), "/accept")
    page = await desk.page(ticket)
    for _ in range(MOST_PHOTOS):
        assert (await desk.press(page, "/photos", photo=desk.png)).status_code == 303
    answer = await desk.press(page, "/photos", photo=desk.png)
    assert answer.status_code == 422
    assert "最多提交" in answer.text


async def test_upload_that_is_too_large_is_refused_with_words(desk: Any) -> None:
    ticket = desk.put_order()
    await desk.press(await desk.page(ticket), "/accept")
    page = await desk.page(ticket)
    big = desk.png + b"\0" * MOST_PHOTO
    answer = await desk.press(page, "/photos", photo=big)
    assert (answer.status_code, "超过 10 MB" in answer.text) == (422, True)
    answer = await desk.press(page, "/photos", photo=big * 3)
    assert (answer.status_code, "合计不超过 20 MB" in answer.text) == (413, True)
    assert desk.store.photos(ticket, event=None) == []


async def test_photo_before_accepting_is_not_taken(desk: Any) -> None:
    ticket = desk.put_order()
    with_upload = httpx.Response(
        200, text=(await desk.page(ticket)).text.replace("/accept", "/photos"), request=httpx.Request("GET", "http://desk")
    )
    assert (await desk.press(with_upload, "/photos", photo=desk.png)).status_code == 409


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "empty"),
        (b"<svg onload=alert(1)>", "not_an_image"),
        (b"GIF89a" + b"\0" * 40, "not_an_image"),
        (b"\0\0\0\x18ftypheic" + b"\0" * 40, "heic"),
        (b"\xff\xd8\xff\xe0" + b"\0" * 40, "cut_off"),
        (scene(0)[:-20], "cut_off"),
        (b"RIFF\xff\xff\0\0WEBPVP8 " + b"\0" * 40, "cut_off"),
        (scene(0) + b"\0" * MOST_PHOTO, "too_large"),
    ],
)
def test_upload_that_is_no_photo_is_told_why(content: bytes, code: str) -> None:
    with pytest.raises(NotAPhoto) as problem:
        check_image(content)
    assert problem.value.code == code


@pytest.mark.parametrize(
    ("content", "media_type"),
    [
        (scene(0), "image/png"),
        (b"\xff\xd8\xff\xda\0\2" + b"\1" * 40 + b"\xff\xd9", "image/jpeg"),
        (b"RIFF\x0c\0\0\0WEBPVP8 \0\0\0\0", "image/webp"),
    ],
)
def test_type_of_a_photo_is_that_of_its_content(content: bytes, media_type: str) -> None:
    assert check_image(content).media_type == media_type


@given(st.binary(max_size=200))
def test_any_bytes_are_a_photo_or_refused(content: bytes) -> None:
    try:
        code = None if check_image(content).content == content else "changed"
    except NotAPhoto as problem:
        code = problem.code
    assert code in (None, "empty", "heic", "not_an_image", "cut_off")


@given(st.text(), st.text(), st.text())
def test_token_of_a_form_is_for_its_order_only(text: str, team: str, ticket: str) -> None:
    links = Links("00" * 32)
    assert links.form_version(links.form("a", "WY1", 3), "a", "WY1") == 3
    if (team, ticket) != ("a", "WY1") and "\0" not in team + ticket:
        assert links.form_version(links.form("a", "WY1", 3), team, ticket) is None
    assert links.form_version(text, "a", "WY1") is None


@pytest.mark.parametrize("state", list(OrderState))
def test_order_that_is_over_stays_as_it_is(state: OrderState) -> None:
    assert state.open or all(after(state, step) is None for step in Step)


async def test_old_orders_are_found_page_by_page(desk: Any) -> None:
    for number in range(60):
        desk.put_order(key=f"320113001001001-0123456789abcdef.a{number + 1}")
    first, second = await desk.http.get(desk.link()), await desk.http.get(f"{desk.link()}?page=2")
    assert (first.text.count('class="card"'), second.text.count('class="card"')) == (50, 10)
    assert "第 2 / 2 页" in second.text
    assert (await desk.http.get(f"{desk.link()}?page=²")).status_code == 200


async def test_limit_that_has_passed_is_shown_as_late(desk: Any) -> None:
    ticket = desk.put_order()
    assert "请于5月6日 22:00 前签收" in (await desk.page(ticket)).text.replace("今天", "5月6日")
    desk.clock.now += 86_400
    page = (await desk.page(ticket)).text
    assert "已超时：应于5月6日 22:00 前签收" in page
