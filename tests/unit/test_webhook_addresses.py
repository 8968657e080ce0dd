"""What a webhook may be sent to: public addresses, and only those private ones that an operator has opened."""

import asyncio
import ipaddress
import ssl
from collections.abc import Sequence

import httpx
import pytest

from hub.testing.kit import open_inbox
from hub.webhooks import AddressForbidden, AddressGuard, NameUnknown, forbidden

EVERYTHING = (ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0"))


class Names:
    """A resolver that gives each answer of its list in turn, like a rebinding attacker's."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def __call__(self, name: str, port: int) -> Sequence[str]:
        self.asked += 1
        return self.answers[min(self.asked, len(self.answers)) - 1]


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.8.8.8", "10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1", "0.0.0.0", "255.255.255.255",
        "169.254.169.254", "100.100.100.200", "192.0.2.1", "198.18.0.1", "224.0.0.1", "240.0.0.1",
        "::1", "::", "fe80::1", "fe80::1%eth0", "fd00::1", "fd00:ec2::254", "ff02::1", "2001:db8::1",
        "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "2002:7f00:1::", "2002:a00:1::",
        "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2001:0:4136:e378:8000:63bf:80ff:fffe", "nonsense",
        "::ffff:0:7f00:1", "fec0::1", "192.88.99.1", "::ffff:192.88.99.1", "3fff::1", "5f00::1", "100::1",
        "2606:4700::5efe:7f00:1", "2606:4700::200:5efe:a00:1",
    ],
)  # fmt: skip
def test_private_and_special_addresses_are_forbidden_however_they_are_written(address: str) -> None:
    assert forbidden(address) is not None


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_public_addresses_are_allowed(address: str) -> None:
    assert forbidden(address) is None


@pytest.mark.parametrize("address", ["10.20.3.4", "::ffff:10.20.3.4"])
def test_opened_network_is_allowed_and_its_neighbour_is_not(address: str) -> None:
    opened = (ipaddress.ip_network("10.20.0.0/16"),)
    assert forbidden(address, opened) is None
    assert forbidden("10.21.0.1", opened) is not None
    assert forbidden("::1", (ipaddress.ip_network("::1/128"),)) is None


@pytest.mark.parametrize(
    "address", ["169.254.169.254", "::ffff:169.254.169.254", "fd00:ec2::254", "100.100.100.200", "fe80::1"]
)
def test_metadata_addresses_are_never_allowed(address: str) -> None:
    assert forbidden(address, EVERYTHING) is not None


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://example.org/", "https"),
        ("ftp://example.org/", "https"),
        ("https:///x", "https"),
        ("https://user:pass@example.org/", "passwords"),
        ("https://127.0.0.1/", "loopback"),
        ("https://[::ffff:10.0.0.1]/", "private"),
    ],
)
def test_urls_are_judged_before_anybody_is_asked(url: str, why: str) -> None:
    with pytest.raises(AddressForbidden, match=why):
        AddressGuard().check(url)


@pytest.mark.parametrize("host", ["127.1", "2130706433", "0x7f000001", "0177.0.0.1"])
async def test_odd_spellings_of_loopback_are_seen_through(host: str) -> None:
    with pytest.raises((AddressForbidden, NameUnknown)):
        await AddressGuard().target(f"https://{host}/")


async def test_name_that_leads_inside_is_forbidden() -> None:
    guard = AddressGuard(resolve=Names(["10.0.0.5", "fd00::5"]))
    with pytest.raises(AddressForbidden, match=r"hook\.example\.org is a private address"):
        await guard.target("https://hook.example.org/in")


async def test_request_goes_to_the_judged_address_under_its_own_name() -> None:
    target = await AddressGuard(resolve=Names(["93.184.216.34"])).target("https://hook.example.org:8443/in?a=1")
    assert target.url == "https://93.184.216.34:8443/in?a=1"
    assert target.headers == {"Host": "hook.example.org:8443"}
    assert target.extensions == {"sni_hostname": "hook.example.org"}
    six = await AddressGuard(resolve=Names(["2606:4700::1111"])).target("https://hook.example.org")
    assert six.url == "https://[2606:4700::1111]/"
    assert six.headers == {"Host": "hook.example.org"}


async def test_forbidden_addresses_of_a_mixed_name_are_passed_over_and_the_others_take_turns() -> None:
    guard = AddressGuard(resolve=Names(["10.0.0.5", "8.8.8.8", "8.8.4.4"]))
    chosen = [(await guard.target("https://hook.example.org/", turn=turn)).address for turn in range(3)]
    assert chosen == ["8.8.8.8", "8.8.4.4", "8.8.8.8"]


async def test_name_that_does_not_resolve_is_told_apart() -> None:
    async def nobody(name: str, port: int) -> Sequence[str]:
        raise OSError("no such name")

    with pytest.raises(NameUnknown):
        await AddressGuard(resolve=nobody).target("https://nowhere.example.org/")
    with pytest.raises(NameUnknown):
        await AddressGuard().target("https://" + "a" * 70 + ".example.org/")


async def test_rebinding_between_judging_and_calling_does_not_help() -> None:
    """The name leads to the permitted server when judged and elsewhere a moment later: the request goes where it was judged."""
    async with open_inbox() as inbox:
        port = httpx.URL(inbox.url).port
        names = Names(["127.0.0.1"], ["10.0.0.1"])
        guard = AddressGuard(allowed=(ipaddress.ip_network("127.0.0.1/32"),), plain_http=True, resolve=names)
        target = await guard.target(f"http://hook.example.org:{port}/hooks/test")
        async with httpx.AsyncClient(trust_env=False) as http:
            answer = await http.post(target.url, headers=target.headers, extensions=target.extensions)
    assert answer.status_code == 503  # the inbox without an adapter: it was reached
    assert names.asked == 1
    with pytest.raises(AddressForbidden):
        await guard.target(f"http://hook.example.org:{port}/hooks/test")


async def test_tls_asks_for_the_name_and_not_for_the_address() -> None:
    """Server name indication carries the registered name, by which the certificate is checked too."""
    asked: list[str] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.sni_callback = lambda _socket, name, _context: asked.append(name) or ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME  # type: ignore[func-returns-value]
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    guard = AddressGuard(allowed=(ipaddress.ip_network("127.0.0.1/32"),), resolve=Names(["127.0.0.1"]))
    target = await guard.target(f"https://hook.example.org:{port}/")
    async with server, httpx.AsyncClient(trust_env=False) as http:
        with pytest.raises(httpx.ConnectError):
            await http.get(target.url, headers=target.headers, extensions=target.extensions)
    assert asked == ["hook.example.org"]
