"""The command line of the desk: `python -m hub_property.desk --port 8700 --data DIR`, and the companies' links.

    serve (default)              run the desk
    link COMPANY NAME            make a company known and print its personal link
    links                        print every company's link
    renew COMPANY                make the old link worthless and print the new one
    close COMPANY / open COMPANY stop or go on taking orders for it
    resend                       send again what was given up

Secrets come from the environment only: PROPERTY_DESK_SECRET (the hub shows it to file orders; it also signs callbacks unless
PROPERTY_DESK_CALLBACK_SECRET is set).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from zoneinfo import ZoneInfo

import uvicorn
from fastapi import FastAPI
from pydantic import ValidationError

from hub_property.desk.app import create_desk, links_of
from hub_property.desk.courier import Courier
from hub_property.desk.outbox import Outbox
from hub_property.desk.store import DeskStore
from hub_property.messages import Company


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the command line says; the exit status."""
    arguments = _parser().parse_args(argv)
    store = DeskStore(arguments.data, clock=time.time)
    try:
        if arguments.command in (None, "serve"):
            return _serve(arguments, store)
        return _administer(arguments, store)
    finally:
        store.close()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m hub_property.desk", description="物业工单台")
    parser.add_argument("--data", type=Path, default=Path("property-desk"), help="directory of the state")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; put a TLS proxy in front of it")
    parser.add_argument("--port", type=int, default=8700, help="port to listen on")
    parser.add_argument("--public-url", default=None, help="how managers reach the desk, for the links printed")
    parser.add_argument("--callback-url", default=None, help="the hub's <public url>/hooks/<instance>")
    parser.add_argument("--zone", type=ZoneInfo, default=ZoneInfo("Asia/Shanghai"), help="time zone of the pages")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands.add_parser("serve", help="run the desk (the default)")
    link = commands.add_parser("link", help="make a company known and print its personal link")
    link.add_argument("company")
    link.add_argument("name")
    commands.add_parser("links", help="print every company's link")
    for word, help in (
        ("renew", "make the old link worthless and print the new one"),
        ("close", "stop taking orders for a company"),
        ("open", "take orders for a closed company again"),
    ):
        commands.add_parser(word, help=help).add_argument("company")
    commands.add_parser("resend", help="send callbacks again that were given up")
    return parser


def _administer(arguments: argparse.Namespace, store: DeskStore) -> int:
    match arguments.command:
        case "link":
            try:
                store.put_company(Company(id=arguments.company, name=arguments.name))
            except ValidationError:
                return _wrong("a company's code is a-z, 0-9, - and _; its name has 1 to 100 characters")
            return _print_links(arguments, store, arguments.company)
        case "links":
            return _print_links(arguments, store, None)
        case "resend":
            print(Outbox(store).resend(time.time()))
            return 0
        case "renew":
            if not store.renew_link(arguments.company):
                return _wrong(f"no such company: {arguments.company}")
            return _print_links(arguments, store, arguments.company)
        case _:
            if not store.set_closed(arguments.company, arguments.command == "close"):
                return _wrong(f"no such company: {arguments.company}")
            return 0


def _print_links(arguments: argparse.Namespace, store: DeskStore, only: str | None) -> int:
    address = (arguments.public_url or f"http://{arguments.host}:{arguments.port}").rstrip("/")
    links = links_of(store)
    for company, generation in store.companies():
        if only in (None, company.id):
            print(f"{company.id}\t{company.name}\t{address}{links.path(company.id, generation)}")
    return 0


def _serve(arguments: argparse.Namespace, store: DeskStore) -> int:
    secret = os.environ.get("PROPERTY_DESK_SECRET", "")
    if not secret:
        return _wrong("PROPERTY_DESK_SECRET is not set")
    courier = Courier(
        Outbox(store),
        url=lambda: arguments.callback_url,
        secret=os.environ.get("PROPERTY_DESK_CALLBACK_SECRET") or secret,
        clock=time.time,
    )

    store.posted = courier.wake

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        task = asyncio.create_task(courier.run(), name="courier")
        task.add_done_callback(lambda _: server.handle_exit(signal.SIGTERM, None))
        yield
        task.cancel()
        ended.extend(await asyncio.gather(task, return_exceptions=True))

    if arguments.callback_url is None:
        print("no --callback-url: what managers report waits until there is one", file=sys.stderr)
    ended: list[BaseException | None] = []
    app = create_desk(store, secret=secret, zone=arguments.zone, lifespan=lifespan)
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


if __name__ == "__main__":
    sys.exit(main())
