"""Puts the portal together from its configuration."""

from __future__ import annotations

import getpass

from starlette.applications import Starlette

from cluster.accounting import Accounts
from cluster.commands import Slurm
from grading.store import Store
from ledger.openings import OpeningLedger
from ledger.sandboxes import SandboxLedger
from ledger.store import Ledger
from ledger.transfers import TransferLedger
from ledger.use import UseLedger
from portal.application import Act, Application, Parts
from portal.box_pages import OperatorActs, RequestPage, SandboxPage
from portal.boxes import Boxes
from portal.configuration import PortalConfiguration
from portal.course_page import CoursePage
from portal.file_pages import FilePages
from portal.health import Checks, Look, Part, awaited_answers, call_answers, page_answers
from portal.home import Home
from portal.hub import Hub, hub_client
from portal.login import Login
from portal.operator_page import OperatorPage
from portal.outside_pages import OutsidePages
from portal.pages import LivePage, Pages
from portal.sessions import Sessions
from portal.site import SiteView
from portal.snapshot import Looks
from portal.use import Used
from portal.work import Exchange
from sandboxes.airlock.clamav import Scanner
from sandboxes.airlock.outgoing import Outgoing
from sandboxes.airlock.quarantine import Quarantine
from sandboxes.egress import see_egress
from sandboxes.keeper import Keeper
from sandboxes.life import Sandboxes
from sandboxes.living import living
from sandboxes.taking import Taking


def portal(configuration: PortalConfiguration) -> Starlette:
    """The whole portal.

    Raises:
        OSError: the token cannot be read.
        InputError: a course of the catalogue is wrong.
    """
    site = SiteView(configuration)
    hub = Hub(hub_client(configuration.hub), configuration.token_file.read_text("ascii").strip())
    conf, commands, answer = configuration.slurm_conf, configuration.slurm_commands, configuration.slurm_answer
    slurm = Slurm(conf, commands=commands, answer=answer)
    looks = Looks(hub, slurm)
    pages = Pages(site, looks)
    folders = configuration.folders
    ledger = Ledger.open(configuration.ledger, configuration.ledger_key)
    parts: dict[Part, Look] = {
        Part.GRADING: page_answers(folders.run / "grading.sock", "/status"),
        Part.LEDGER: call_answers(ledger.head),
    }
    used = Used(UseLedger(ledger))
    accounts = None
    if configuration.accounting:
        accounts = Accounts(conf, user=getpass.getuser(), commands=commands, answer=answer)
        parts[Part.ACCOUNTING] = awaited_answers(accounts.answers)
    boxes, keeper, taking = None, None, None
    acts: dict[str, Act] = {}
    live: dict[str, LivePage] = {}
    if (settings := configuration.sandboxes) is not None:
        life = Sandboxes(SandboxLedger(ledger), folders, settings)
        boxes = Boxes(life, settings, hub, accounts)
        transfers, scanner = TransferLedger(ledger), Scanner.of(folders, settings)
        parts[Part.SCANNER] = awaited_answers(scanner.answers)
        if settings.hosts:
            parts[Part.EGRESS] = call_answers(lambda: see_egress(folders))
        quarantine = Quarantine(transfers, folders, settings, scanner)
        outgoing, taking = Outgoing(life.ledger, transfers, folders, settings), Taking(life.ledger, ledger)
        files = FilePages(boxes, transfers, quarantine=quarantine, outgoing=outgoing, scanner=scanner, taking=taking)
        outside = OutsidePages(boxes, OpeningLedger(ledger))
        request = RequestPage(boxes, pages)
        sandbox = SandboxPage(boxes, site, pages, files=files, outside=outside, used=used)
        keeper = Keeper(
            life, ledger, folders, days_kept=settings.days_kept, follow=hub.follow_sandboxes,
            living=lambda: living(slurm, folders.jobs), quarantine=quarantine,
        )  # fmt: skip
        live["sandbox"] = sandbox.page
        acts = {
            "request": request.show, "ask": request.send, "join": sandbox.join, "extend": sandbox.extend,
            "upload": files.upload, "takeout": files.ask, "decide": files.decide, "fetch": files.fetch,
            "export": files.export, "release": files.release, "reach": outside.act,
            "end": sandbox.end, "invite": sandbox.invite, "remove": sandbox.remove,
            "oversee": OperatorActs(boxes, taking).act,
        }  # fmt: skip
    home = Home(
        site, hub, Exchange(Store(folders.exchange, configuration.limits, process="portal"), folders), boxes, used
    )
    return Application(
        Parts(
            configuration=configuration,
            site=site,
            hub=hub,
            looks=looks,
            login=Login(configuration, hub, Sessions()),
            pages=pages,
            live={
                "home": home.page,
                "course": CoursePage(site, home, used).page,
                "operator": OperatorPage(
                    site, hub, Checks(parts), boxes=boxes, taking=taking, used=used, jobs=folders.jobs
                ).page,
                **live,
            },
            acts=acts,
            boxes=boxes,
            keeper=keeper,
            own_bodies=frozenset({"upload"}),
        )
    ).starlette()
