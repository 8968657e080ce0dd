"""The command line of a desk: runs it, and hands out the teams' links.

    serve (default)              run the desk
    link TEAM NAME               make a team known and print its personal link (--qr: as a QR code too)
    links                        print every team's link (--qr)
    sheet FILE                   write a page to print: every team's name, link and QR code
    renew TEAM                   make the old link worthless and print the new one
    close TEAM / open TEAM       stop or go on taking orders for it
    resend                       send again what was given up

Secrets come from the environment only: <PREFIX>_SECRET (the hub shows it to file orders; it also signs reports unless
<PREFIX>_CALLBACK_SECRET is set) and, while it is being changed, <PREFIX>_FORMER_SECRET.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from zoneinfo import ZoneInfo

import uvicorn
from fastapi import FastAPI
from pydantic import ValidationError

from hub_page.desk.app import create_desk, links_of
from hub_page.desk.codes import Entry, printed_code, sheet
from hub_page.desk.courier import Courier
from hub_page.desk.outbox import Outbox
from hub_page.desk.store import DeskStore
from hub_page.desk.wording import Wording, WordingWrong
from hub_page.messages import Team
from hub_page.signing import webhook

UNDO_FOR = 20.0
"""Seconds in which 办结 can be undone, unless said otherwise."""


@dataclass(frozen=True, kw_only=True)
class Flavour:
    """What one kind of desk is called; another plugin may ship its own."""

    program: str = "hub_page.desk"
    description: str = "A phone page for units without a system of their own."
    environment: str = "PAGE_DESK"
    """What the names of its environment variables start with."""
    data: str = "page-desk"
    prefix: str = "GD"
    """What order numbers start with."""
    words: Wording = field(default_factory=Wording)


def main(flavour: Flavour, argv: Sequence[str] | None = None, environment: Mapping[str, str] = os.environ) -> int:
    """Do what the command line says; the exit status."""
    arguments = _parser(flavour).parse_args(argv)
    try:
        words = flavour.words if arguments.wording is None else Wording.load(arguments.wording)
    except WordingWrong as error:
        return _wrong(str(error))
    store = DeskStore(arguments.data, clock=time.time, prefix=flavour.prefix, undo_for=arguments.undo)
    try:
        if arguments.command in (None, "serve"):
            return _serve(arguments, store, flavour, words, environment)
        return _administer(arguments, store, words)
    finally:
        store.close()


def _parser(flavour: Flavour) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"python -m {flavour.program}",
        description=flavour.description,
        epilog=f"Secrets: {flavour.environment}_SECRET (needed to serve), {flavour.environment}_CALLBACK_SECRET, "
        f"{flavour.environment}_FORMER_SECRET; from the environment only.",
    )
    parser.add_argument("--data", type=Path, default=Path(flavour.data), help="directory of the state (default: %(default)s)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; put a TLS proxy in front of it")
    parser.add_argument("--port", type=int, default=8700, help="port to listen on (default: %(default)s)")
    parser.add_argument("--public-url", default=None, help="how people reach the desk, for the links printed")
    parser.add_argument(
        "--callback-url",
        default=None,
        help="the hub's <public url>/hooks/<instance>; without it the hub fetches what is reported",
    )
    parser.add_argument("--wording", type=Path, default=None, metavar="FILE", help="TOML file with the desk's own words")
    parser.add_argument(
        "--undo", type=_seconds, default=UNDO_FOR, metavar="SECONDS", help="how long 办结 can be undone (default: %(default)g)"
    )
    parser.add_argument("--zone", type=ZoneInfo, default=ZoneInfo("Asia/Shanghai"), help="time zone of the pages")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands.add_parser("serve", help="run the desk (the default)")
    link = commands.add_parser("link", help="make a team known and print its personal link")
    link.add_argument("team")
    link.add_argument("name")
    for command in (link, commands.add_parser("links", help="print every team's link")):
        command.add_argument("--qr", action="store_true", help="as a QR code too")
    commands.add_parser("sheet", help="write a page to print with every team's QR code").add_argument("file", type=Path)
    renew = commands.add_parser("renew", help="make the old link worthless and print the new one")
    renew.add_argument("--qr", action="store_true", help="as a QR code too")
    renew.add_argument("team")
    for word, help in (("close", "stop taking orders for a team"), ("open", "take orders for a closed team again")):
        commands.add_parser(word, help=help).add_argument("team")
    commands.add_parser("resend", help="send reports again that were given up")
    return parser


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 600:
        raise argparse.ArgumentTypeError("0 to 600 seconds")
    return value


def _administer(arguments: argparse.Namespace, store: DeskStore, words: Wording) -> int:
    match arguments.command:
        case "link":
            try:
                store.put_team(Team(id=arguments.team, name=arguments.name))
            except ValidationError:
                return _wrong("a team's code is a-z, 0-9, - and _; its name has 1 to 100 characters")
            return _print_links(arguments, store, arguments.team)
        case "links":
            return _print_links(arguments, store, None)
        case "sheet":
            arguments.file.touch(mode=0o600)
            arguments.file.write_text(sheet(words.title, words.dispatcher, _entries(arguments, store, None)), "utf-8")
            return 0
        case "resend":
            print(Outbox(store).resend(time.time()))
            return 0
        case "renew":
            if not store.renew_link(arguments.team):
                return _wrong(f"no such team: {arguments.team}")
            return _print_links(arguments, store, arguments.team)
        case _:
            if not store.set_closed(arguments.team, arguments.command == "close"):
                return _wrong(f"no such team: {arguments.team}")
            return 0


def _entries(arguments: argparse.Namespace, store: DeskStore, only: str | None) -> list[Entry]:
    address = (arguments.public_url or f"http://{arguments.host}:{arguments.port}").rstrip("/")
    links = links_of(store)
    return [
        Entry(team=team, link=f"{address}{links.path(team.id, generation)}")
        for team, generation in store.teams()
        if only in (None, team.id)
    ]


def _print_links(arguments: argparse.Namespace, store: DeskStore, only: str | None) -> int:
    for entry in _entries(arguments, store, only):
        print(f"{entry.team.id}\t{entry.team.name}\t{entry.link}")
        if arguments.qr:
            print(printed_code(entry.link))
    return 0


def _serve(
    arguments: argparse.Namespace, store: DeskStore, flavour: Flavour, words: Wording, environment: Mapping[str, str]
) -> int:
    name = f"{flavour.environment}_SECRET"
    secret = environment.get(name, "")
    if not secret:
        return _wrong(f"{name} is not set")
    former = environment.get(f"{flavour.environment}_FORMER_SECRET", "")
    signing = environment.get(f"{flavour.environment}_CALLBACK_SECRET") or secret
    try:
        webhook(signing)
    except ValueError:
        return _wrong("the secret that signs reports starts with whsec_ and is no base64 after it")
    courier = Courier(Outbox(store), url=lambda: arguments.callback_url, secret=signing, clock=time.time)
    store.posted = courier.wake

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        task = asyncio.create_task(courier.run(), name="courier")
        task.add_done_callback(lambda _: server.handle_exit(signal.SIGTERM, None))
        yield
        task.cancel()
        ended.extend(await asyncio.gather(task, return_exceptions=True))

    if arguments.callback_url is None:
        print("no --callback-url: reports wait until the hub fetches them", file=sys.stderr)
    ended: list[BaseException | None] = []
    secrets = [one for one in (secret, former) if one]
    app = create_desk(store, secrets=secrets, zone=arguments.zone, words=words, lifespan=lifespan)
    # no access log: the links' tokens are in the paths
    server = uvicorn.Server(
        uvicorn.Config(app, host=arguments.host, port=arguments.port, access_log=False, server_header=False)
    )
    server.run()
    for problem in ended:
        if problem is not None and not isinstance(problem, asyncio.CancelledError):
            raise problem
    return 0 if server.started else 1


def _wrong(text: str) -> int:
    print(text, file=sys.stderr)
    return 2
