"""What each person's server is: which command behind which wall, with which relays, for which role."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from assistant.configuration import SOCKET as ASSISTANT_SOCKET
from base.course_groups import STUDENTS, staff_role
from base.i18n import LANGUAGES, translate
from base.messages import Message
from base.paths import Installation, State
from base.ports import LOOPBACK
from cluster.accounting import course_account, has_accounting
from cluster.records import part_of
from cluster.watcher import Watcher
from confinement.wall import Bind, Relay, Wall
from courses.catalogue import Course
from courses.catalogue import in_language as in_language_of
from grading.plans import (
    HUB_PORT,
    LAB,
    NOTEBOOK_ENV,
    SERVER_PORT,
    CoursePages,
    formgrader_plan,
    lab_environment,
    lab_relays,
    notebook_binds,
    role_of,
    seccomp_of,
)
from hub_config.assistant import offer_in_sandbox, offer_to
from hub_config.assistant_in_labs import ASSISTANT_PORT, Offer, with_assistant
from hub_config.charging import Charging
from hub_config.courses import Courses, Offered
from hub_config.lab_certificates import certificates_of
from hub_config.login.names import BOX_PREFIX
from hub_config.named_servers import allowed
from hub_config.roles import COURSE_ACCOUNT
from hub_config.run.keys import secret
from hub_config.run.ports import remembered
from hub_config.sandboxes import Members, slurm_account
from hub_config.site import Site
from hub_config.slurm import hub_id, slurm_of
from hub_config.unix_accounts import PeoplesAccounts, launcher_of
from ledger.use import Place, Purpose
from portal import request as page_request
from sandboxes import way_out
from sandboxes.egress_ports import port_of
from sandboxes.plans import sandbox_wall
from spawners.facility import Facility, Person
from spawners.failures import StartRefused
from spawners.options import choose_profile, course_of, profiles_of
from spawners.plan import ServerPlan
from spawners.settings import Profile

DATA = Path("/srv/data")
"""Where folders that profiles share are inside."""


@dataclass(frozen=True)
class Plans:
    """Makes the plan of each start.

    Args:
        site: the checked settings.
        state: the site's state folder.
        installation: the environments to use.
        members: who is in which sandbox.
        courses: what the site gives at this moment.
        charging: says whom a person's own servers are charged to.
        images: where the images that profiles name are unpacked, by label.
        accounts: unix accounts of people; None on a site with one account.
    """

    site: Site
    state: State
    installation: Installation
    members: Members
    courses: Courses
    charging: Charging
    images: Mapping[str, Path] = field(default_factory=dict)
    accounts: PeoplesAccounts | None = None

    def plan_for(self, person: Person, options: Mapping[str, object]) -> ServerPlan:
        """The plan of one start.

        Args:
            person: JupyterHub's user; a course account gets its course's formgrader.
            options: what the person chose; not to be trusted.

        Raises:
            spawners.failures.StartRefused: the options are not allowed.
        """
        if person.name.startswith(COURSE_ACCOUNT):
            course = person.name.removeprefix(COURSE_ACCOUNT)
            return replace(self._formgrader(course), purpose=Purpose("", Place.COURSE, course))
        if person.name.startswith(BOX_PREFIX):
            return self._sandbox(person.name)
        groups = [group.name for group in person.groups]
        profile = choose_profile(self.site.profiles, groups, options)
        of_course = course_of(groups, options)
        purpose = Purpose(person.name, Place.COURSE if of_course else Place.OWN, of_course or "")
        runs_as = self.accounts.runs_as(person.name) if self.accounts is not None else None
        return ServerPlan(
            profile, self._lab(person.name, groups, profile), HUB_PORT, self.charging.account(person.name), purpose,
            self.charging.before(person.name, groups, runs_as), runs_as, profile.home_size,
        )  # fmt: skip

    def profiles_for(self, person: Person) -> list[Profile]:
        """What a person may choose between; accounts of courses and sandboxes have no choice."""
        if person.name.startswith((COURSE_ACCOUNT, BOX_PREFIX)):
            return []
        return profiles_of(self.site.profiles, [group.name for group in person.groups])

    def _formgrader(self, course: str) -> ServerPlan:
        """A course's own server; none of a course that the site does not give now."""
        offered = self.courses.now().get(course)
        if offered is None:
            raise StartRefused(Message("start.refused.course"), "The site does not give this course.")
        profile = self.site.profile(self.site.grading.profile)
        return formgrader_plan(
            course, profile, self.state, self.installation, self.site.confinement,
            pages=self._pages(offered), account=self._account,
        )  # fmt: skip

    def _pages(self, course: Offered) -> CoursePages:
        """What the course's grading pages say of the site."""
        site = self.site.site
        about = Course.load(course.folder)
        return CoursePages(
            course={language: about.title(language) for language in LANGUAGES},
            assignments={
                one.id: {language: in_language_of(one.title, language) for language in LANGUAGES}
                for one in about.assignments()
            },
            site=site.title.model_dump(),
            language=site.language,
            time_zone=site.time_zone,
            portal=self.site.portal,
            demo=self.site.login.kind == "demo",
        )

    @property
    def _account(self) -> str | None:
        return course_account(self.site.cluster)

    def _sandbox(self, account: str) -> ServerPlan:
        """A member's server in a sandbox; nobody's who is no member now."""
        membership = self.members.of(account)
        if membership is None or self.site.sandboxes is None:
            raise StartRefused(Message("start.refused.sandbox"), "This account is in no sandbox.")
        profile = self.site.profile(self.site.sandboxes.profile)
        wall = sandbox_wall(
            membership.sandbox, membership.person, size=int(self.site.sandboxes.size),
            egress=self._way_out(membership.sandbox), state=self.state, installation=self._installed(profile),
            confinement=self.site.confinement,
        )  # fmt: skip
        language = in_language(wall.environment, page_request.current().language)
        charged = slurm_account(membership.sandbox) if has_accounting(self.site.cluster) else None
        wall = self._told(replace(wall, environment=language), offer_in_sandbox(self.site))
        purpose = Purpose(membership.person, Place.SANDBOX, membership.sandbox)
        return ServerPlan(profile, wall, HUB_PORT, charged, purpose)

    def _way_out(self, sandbox: str) -> str | None:
        """What lets a sandbox out; None for one that may reach nothing."""
        if port_of(self.state, sandbox) is None:
            return None
        return way_out.ticket(secret(self.state, way_out.KEY), sandbox)

    def _installed(self, profile: Profile) -> Installation:
        """The environments of a profile: those of its own image, where it names one."""
        if profile.image is None:
            return self.installation
        return replace(self.installation, image=self.images[profile.image])

    def _lab(self, name: str, groups: Collection[str], profile: Profile) -> Wall:
        role, installation = role_of(tuple(groups)), self._installed(profile)
        home = self.state.homes / name
        if self.accounts is None:
            home.mkdir(mode=0o700, exist_ok=True)
        environment, sizes = lab_environment(role), self.site.confinement.sizes()
        if profile.home_size is not None:
            environment["LEERLAB_HOME_SIZE"] = str(int(profile.home_size))
            limits = self.site.confinement.limits
            sizes["limits"] = replace(limits, file_size=min(limits.file_size, int(profile.home_size)))
        wall = Wall(
            command=(f"{NOTEBOOK_ENV}/bin/python", "-m", "jupyterhub.singleuser"),
            home=home,
            seccomp=seccomp_of(self.state),
            binds=(*notebook_binds(installation, self.state), *data_binds(profile)),
            root=installation.image,
            relays=(Relay(HUB_PORT, f"unix:{self.state.run / 'hub-api.sock'}"), *lab_relays(role, self.state)),
            publish=SERVER_PORT,
            environment=in_language(environment, page_request.current().language),
            **sizes,
        )
        return self._told(wall, offer_to(groups, self.site, self.installation.code))

    def _told(self, wall: Wall, offer: Offer) -> Wall:
        """A lab's wall with what holds for the assistant; the way to it is there only where it is on."""
        ways = wall.relays
        if offer.models:
            ways = (*ways, Relay(ASSISTANT_PORT, f"unix:{self.state.run / ASSISTANT_SOCKET}"))
        return replace(wall, relays=ways, environment=with_assistant(wall.environment, offer))


def data_binds(profile: Profile) -> tuple[Bind, ...]:
    """The folders that everybody with a profile may read."""
    return tuple(Bind(Path(one.folder), DATA / one.name) for one in profile.data)


def in_language(environment: Mapping[str, str], language: str) -> dict[str, str]:
    """A lab's environment with menus and assignments in the language in which the person asked for it.

    Args:
        environment: as `grading.plans.lab_environment` gives it.
        language: `nl` or `en`; English needs no settings.
    """
    folder = f":{LAB}/config/{language}" if language != "en" else ""
    return {
        **environment,
        "JUPYTER_CONFIG_PATH": environment["JUPYTER_CONFIG_PATH"] + folder,
        "LEERLAB_LANGUAGE": language,
    }


def facility(plans: Plans) -> Facility:
    """All that the site's spawners share."""
    site, state = plans.site, plans.state
    slurm = slurm_of(site, state)
    reserved: frozenset[int] = frozenset()
    if site.cluster.publish_on == LOOPBACK:
        ports = remembered(state)
        reserved = frozenset({site.hub.port, *ports.all})
    return Facility(
        hub=hub_id(state),
        plan_for=plans.plan_for,
        slurm=slurm,
        watcher=Watcher(slurm, site.cluster.interval),
        state=state,
        report_to=f"unix:{state.run / 'hub-api.sock'}",
        wrapper=("/usr/bin/python3", "-I", "-S", str(plans.installation.code / "spawners/job.py")),
        say=lambda message: translate(message, site.site.language),
        publish_on=site.cluster.publish_on,
        reserved_ports=reserved,
        profiles_for=plans.profiles_for,
        named_servers=lambda who: allowed(site.limits, who.name, [group.name for group in who.groups]),
        part_of_gpu=lambda one: part_of(site.cluster, one.partition, one.gpus, one.shards, one.gpu_type),
        launcher=launcher_of(site),
        certificates=certificates_of(site, state),
    )


def role_in(course: str, groups: Collection[str]) -> str | None:
    """`teacher`, `student` or None: what a member of these groups is in a course."""
    if staff_role(groups, course) is not None:
        return "teacher"
    return "student" if STUDENTS + course in groups else None
