"""What must fit between the sections of a site.yaml: each rule is one function that yields what breaks it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from assistant.settings import AssistantSettings, LocalModel, RemoteModel
from base.course_groups import PREFIXES
from base.errors import InputError
from base.quantities import Size
from base.yaml_source import Document, Fault
from catalogue.card import Kind, ModelCard
from catalogue.entries import CatalogueSettings, entries, unknown
from cluster.limits import GroupLimits, kept_by_slurm
from cluster.settings import Cluster, EmbeddedCluster, ExistingCluster
from cluster.unix_accounts import DirectoryAccounts, MadeAccounts, UnixAccounts
from courses.catalogue import DESCRIPTION, Course
from courses.settings import CourseSettings
from grading.plans import execution_memory
from grading.settings import GradingSettings
from hub_config.login.settings import ROLE_GROUPS, ProviderSettings
from hub_config.people_rules import accounts_can_be_used, shared_data_is_there
from hub_config.secret_files import why_unusable
from hub_config.settings import DemoPersonSettings, HubSettings
from images.errors import ImageRefused
from images.settings import ImageSettings
from images.shelf import images_in, signed_manifest
from sandboxes.settings import SandboxSettings
from spawners.settings import Profile, problems_of

_UNIQUE = (
    (("login", "people"), "name", "person"),
    (("login", "providers"), "id", "provider"),
    (("cluster", "nodes"), "name", "node"),
    (("cluster", "partitions"), "name", "partition"),
    (("profiles",), "id", "profile"),
    (("limits",), "id", "limit"),
    (("courses",), "id", "course"),
)
_T = TypeVar("_T")
_M = TypeVar("_M", bound=BaseModel)


@dataclass(frozen=True)
class Parts:
    """The sections and list members that are right by themselves, so that a mistake in one place hides none elsewhere.

    Args:
        document: the file.
        catalogue: folder that relative course folders are below.
        hub: the section, or None when it is wrong.
        cluster: the section, or None when it is wrong.
        grading: the section, or None when it is wrong.
        sandboxes: the section, or None when it is wrong or left out.
        people: right members of login.people, each with its index.
        providers: right members of login.providers, each with its index.
        profiles: right members of profiles, each with its index.
        limits: right members of limits, each with its index.
        courses: right members of courses, each with its index.
        data: the section catalogue, or None when it is wrong.
        assistant: the section, or None when it is wrong or left out.
        images: the section, or None when it is wrong or left out.
        accounts: the section unix_accounts, or None when it is wrong or left out.
    """

    document: Document
    catalogue: Path
    hub: HubSettings | None
    cluster: EmbeddedCluster | ExistingCluster | None
    grading: GradingSettings | None
    sandboxes: SandboxSettings | None
    people: Sequence[tuple[int, DemoPersonSettings]]
    providers: Sequence[tuple[int, ProviderSettings]]
    profiles: Sequence[tuple[int, Profile]]
    limits: Sequence[tuple[int, GroupLimits]]
    courses: Sequence[tuple[int, CourseSettings]]
    data: CatalogueSettings | None
    assistant: AssistantSettings | None
    images: ImageSettings | None
    accounts: MadeAccounts | DirectoryAccounts | None

    @classmethod
    def of(cls, document: Document, catalogue: Path) -> Parts:
        """The parts of a document that has a root."""
        plain = document.root.plain() if document.root else {}
        login = plain.get("login")
        return cls(
            document=document,
            catalogue=catalogue,
            hub=_valid(TypeAdapter(HubSettings), plain.get("hub", {})),
            cluster=_valid(TypeAdapter[EmbeddedCluster | ExistingCluster](Cluster), plain.get("cluster")),
            grading=_valid(TypeAdapter(GradingSettings), plain.get("grading")),
            sandboxes=_valid(TypeAdapter(SandboxSettings), plain.get("sandboxes")),
            people=_members(DemoPersonSettings, login.get("people") if isinstance(login, dict) else None),
            providers=_members(ProviderSettings, login.get("providers") if isinstance(login, dict) else None),
            profiles=_members(Profile, plain.get("profiles")),
            limits=_members(GroupLimits, plain.get("limits")),
            courses=_members(CourseSettings, plain.get("courses")),
            data=_valid(TypeAdapter(CatalogueSettings), plain.get("catalogue", {})),
            assistant=_valid(TypeAdapter(AssistantSettings), plain.get("assistant")),
            images=_valid(TypeAdapter(ImageSettings), plain.get("images")),
            accounts=_valid(TypeAdapter[MadeAccounts | DirectoryAccounts](UnixAccounts), plain.get("unix_accounts")),
        )

    def named(self, path: Sequence[str], key: str) -> dict[str, list[int]]:
        """Indices of a list's members by the name that each gives itself, wrong members too."""
        found: dict[str, list[int]] = {}
        place = self.document.find(path)
        for index, member in enumerate((place.node.members if place.whole else None) or ()):
            name = (member.items or {}).get(key)
            if name is not None and isinstance(name.value, str):
                found.setdefault(name.value, []).append(index)
        return found

    def fault(self, path: Sequence[str | int], message: str, allowed: str = "") -> Fault:
        """A fault at a path, or at the nearest place above it that the file has."""
        return Fault(self.document.find(path).line, message, allowed)


def broken(parts: Parts, *, elsewhere: bool = False) -> Iterator[Fault]:
    """What breaks any of the rules.

    Args:
        parts: what is right by itself.
        elsewhere: whether the site is another machine's, on which the files are that it names.
    """
    for rule in RULES:
        if not (elsewhere and rule in OF_THIS_MACHINE):
            yield from rule(parts)


def names_are_unique(parts: Parts) -> Iterator[Fault]:
    """Nothing bears the name of another of its kind; Slurm does not tell partitions apart by case."""
    for path, key, kind in _UNIQUE:
        for name, indices in parts.named(path, key).items():
            for index in indices[1:]:
                first = parts.document.find((*path, indices[0], key)).line
                yield parts.fault(
                    (*path, index, key), f"the {kind} {name} exists already, on line {first}", "each name once"
                )


def profiles_fit_the_cluster(parts: Parts) -> Iterator[Fault]:
    """No profile asks more than a node of its partition has, or longer than the partition allows."""
    if parts.cluster is None:
        return
    partitions = ", ".join(partition.name for partition in parts.cluster.partitions)
    for index, profile in parts.profiles:
        known = any(partition.name == profile.partition for partition in parts.cluster.partitions)
        if not known:
            message = f"the profile {profile.id} names a partition that does not exist: {profile.partition}"
            yield parts.fault(("profiles", index, "partition"), message, partitions)
            continue
        for unfit in problems_of(profile, parts.cluster):
            here = ("profiles", index, unfit.key) if unfit.key else ("profiles", index)
            yield parts.fault(here, f"profile {profile.id}: {unfit.message}", unfit.allowed)


def profiles_exist(parts: Parts) -> Iterator[Fault]:
    """Every course and the grading name a profile of this file."""
    known = parts.named(("profiles",), "id")
    for index, course in parts.courses:
        if course.profile not in known:
            message = f"the course {course.id} names a profile that does not exist: {course.profile}"
            yield parts.fault(("courses", index, "profile"), message, _some(known))
    if parts.grading is not None and parts.grading.profile not in known:
        message = f"`grading.profile` names a profile that does not exist: {parts.grading.profile}"
        yield parts.fault(("grading", "profile"), message, _some(known))


def courses_have_folders(parts: Parts) -> Iterator[Fault]:
    """Every course's folder exists, and holds the assignments that are to be handed out."""
    for index, course in parts.courses:
        here = ("courses", index, "folder")
        if ".." in Path(course.folder).parts:
            yield parts.fault(
                here, f"the folder of the course {course.id} leads upwards: {course.folder}", "a path without .."
            )
            continue
        folder = parts.catalogue / course.folder
        if not _is_folder(folder):
            message = f"the folder of the course {course.id} does not exist: {folder}"
            yield parts.fault(here, message, f"a folder below {parts.catalogue}, or an absolute one")
            continue
        for number, assignment in enumerate(course.released):
            place = ("courses", index, "released", number)
            if assignment in course.released[:number]:
                yield parts.fault(place, f"the course {course.id} names the assignment {assignment} twice", "each once")
            elif not _is_folder(folder / "source" / assignment):
                message = f"the course {course.id} has no assignment {assignment}"
                yield parts.fault(place, message, _some(_folders(folder / "source")) or "a folder below source/")


def courses_use_the_catalogue(parts: Parts) -> Iterator[Fault]:
    """The catalogue can be read, and has every dataset and model that a course names."""
    if parts.data is None:
        return
    try:
        found = entries(parts.data.folders)
    except InputError as error:
        yield parts.fault(("catalogue", "folders"), error.what)
        return
    for index, course in parts.courses:
        folder = parts.catalogue / course.folder
        if not _is_folder(folder) or not (folder / DESCRIPTION).is_file():
            continue
        try:
            about = Course.load(folder).description
        except InputError as error:
            yield parts.fault(("courses", index, "folder"), error.what)
            continue
        for kind, names in ((Kind.DATASET, about.datasets), (Kind.MODEL, about.models)):
            for name in unknown(names, kind, found):
                known = [entry.card.id for entry in found if entry.card.kind is kind]
                message = f"the course {course.id} uses a {kind} that the catalogue does not have: {name}"
                yield parts.fault(("courses", index), message, _some(known))


def groups_belong_to_courses(parts: Parts) -> Iterator[Fault]:
    """A group of students or teachers belongs to a course of this file."""
    known = parts.named(("courses",), "id")
    owners: list[tuple[tuple[str | int, ...], tuple[str, ...], str]] = []
    owners += [(("login", "people", i, "groups"), person.groups, person.name) for i, person in parts.people]
    owners += [
        (("profiles", i, "groups"), profile.groups, f"the profile {profile.id}") for i, profile in parts.profiles
    ]
    owners += [(("limits", i, "groups"), one.groups, f"the limit {one.id}") for i, one in parts.limits]
    for path, groups, owner in owners:
        for number, group in enumerate(groups):
            for prefix in PREFIXES:
                if group.startswith(prefix) and group.removeprefix(prefix) not in known:
                    message = f"{owner} is in a group of a course that does not exist: {group}"
                    yield parts.fault((*path, number), message, _some(prefix + course for course in known))


def rules_give_known_groups(parts: Parts) -> Iterator[Fault]:
    """A claim gives a role, or a course of this file; a group that nobody knows would give nothing, unseen."""
    courses = parts.named(("courses",), "id")
    known = [*sorted(ROLE_GROUPS), *(prefix + course for prefix in PREFIXES for course in courses)]
    for index, provider in parts.providers:
        for number, rule in enumerate(provider.rules):
            for place, group in enumerate(rule.groups):
                if group not in known:
                    message = f"a rule of the provider {provider.id} gives a group that does not exist: {group}"
                    here = ("login", "providers", index, "rules", number, "groups", place)
                    yield parts.fault(here, message, _some(known))


def client_secrets_are_readable(parts: Parts) -> Iterator[Fault]:
    """Each provider's secret is in a file that this account can read and others cannot."""
    for index, provider in parts.providers:
        why = why_unusable(Path(provider.client_secret_file))
        if why:
            message = f"the client secret of the provider {provider.id} {why}: {provider.client_secret_file}"
            here = ("login", "providers", index, "client_secret_file")
            yield parts.fault(here, message, "a file of mode 600 with the secret on one line")


def logins_are_encrypted_on_the_way(parts: Parts) -> Iterator[Fault]:
    """Sessions travel over plain http within this machine only."""
    login = parts.document.find(("login", "kind"))
    if login.whole and login.node.value == "oidc" and parts.hub is not None and not parts.hub.bind.is_loopback:
        message = f"logins would cross the network unencrypted, and {parts.hub.bind} can be reached by others"
        yield parts.fault(("hub", "bind"), message, "127.0.0.1 or ::1, and a TLS proxy with `hub.https: true`")


def https_can_work(parts: Parts) -> Iterator[Fault]:
    """A site behind a TLS proxy has a name that certificates are given for, and is reached through that proxy alone."""
    hub = parts.hub
    if hub is None or not hub.https:
        return
    if not hub.bind.is_loopback:
        message = f"the TLS proxy stands on this machine, and {hub.bind} could be reached without it"
        yield parts.fault(("hub", "bind"), message, "127.0.0.1 or ::1 with `hub.https: true`")
    labels = hub.domain.split(".")
    if len(labels) < 2 or labels[-1] == "localhost" or labels[-1].isdecimal() or not all(labels):
        message = f"nobody gives a certificate for {hub.domain} and the names below it"
        yield parts.fault(("hub", "domain"), message, "a name of the site's own, such as leer.example.nl")
    login = parts.document.find(("login", "kind"))
    if login.whole and login.node.value == "demo":
        message = "people of the demo login need no password, and others can come through the TLS proxy"
        yield parts.fault(("hub", "https"), message, "`login.kind: oidc` with `hub.https: true`")


def demo_login_stays_here(parts: Parts) -> Iterator[Fault]:
    """People without passwords exist only where nobody from elsewhere can come."""
    login = parts.document.find(("login", "kind"))
    if login.whole and login.node.value == "demo" and parts.hub is not None and not parts.hub.bind.is_loopback:
        message = f"people of the demo login need no password, and {parts.hub.bind} can be reached by others"
        yield parts.fault(("hub", "bind"), message, "127.0.0.1 or ::1 with `login.kind: demo`")


def graded_runs_have_time(parts: Parts) -> Iterator[Fault]:
    """A graded run fits in the time of its profile's job."""
    grading = parts.grading
    for _, profile in parts.profiles:
        if grading is not None and profile.id == grading.profile and grading.notebook_time > profile.time:
            message = f"`grading.notebook_time` ({grading.notebook_time}) is longer than the profile {profile.id} runs"
            yield parts.fault(("grading", "notebook_time"), message, f"at most {profile.time}")


def graded_runs_have_memory(parts: Parts) -> Iterator[Fault]:
    """A node of the partition has the memory of a graded execution's job."""
    grading, cluster = parts.grading, parts.cluster
    for _, profile in parts.profiles:
        if grading is None or cluster is None or profile.id != grading.profile:
            continue
        needed = Size(execution_memory(profile))
        known = any(partition.name == profile.partition for partition in cluster.partitions)
        fits = partial(cluster.fits, profile.partition, profile.cpus, gpus=profile.gpus, shards=profile.shards)
        if known and fits(memory=profile.memory) and not fits(memory=needed):
            message = (
                f"graded runs need {needed} ({profile.cpus} side by side with {profile.memory} each, and what they "
                f"share), and no node of the partition {profile.partition} has that"
            )
            yield parts.fault(("grading", "profile"), message, "a profile with less memory or fewer cores")


def sandboxes_can_run(parts: Parts) -> Iterator[Fault]:
    """A sandbox's servers have a profile of this file without parts of a shared GPU; budgets need accounting."""
    sandboxes = parts.sandboxes
    if sandboxes is None:
        return
    profile = next((profile for _, profile in parts.profiles if profile.id == sandboxes.profile), None)
    if profile is None:
        known = [profile.id for _, profile in parts.profiles if not profile.shards]
        message = f"`sandboxes.profile` names a profile that does not exist: {sandboxes.profile}"
        yield parts.fault(("sandboxes", "profile"), message, _some(known))
    elif profile.shards:
        message = f"the profile {profile.id} has parts of a shared GPU, and those share memory with other people's work"
        yield parts.fault(("sandboxes", "profile"), message, "a profile with whole GPUs, or without")
    if sandboxes.gpu_hours is not None and not getattr(parts.cluster, "accounting", True):
        message = "`sandboxes.gpu_hours` is a budget, and this cluster counts nothing"
        yield parts.fault(("sandboxes", "gpu_hours"), message, "only with `cluster.accounting: true`")


def assistant_names_what_exists(parts: Parts) -> Iterator[Fault]:
    """The assistant's courses and profiles are of this file, its local models of the catalogue, its keys readable."""
    assistant = parts.assistant
    if assistant is None:
        return
    courses, profiles = parts.named(("courses",), "id"), parts.named(("profiles",), "id")
    for course in assistant.courses:
        if course not in courses:
            message = f"the assistant has a policy for a course that does not exist: {course}"
            yield parts.fault(("assistant", "courses", course), message, _some(courses))
    if assistant.sandboxes is not None and not parts.document.find(("sandboxes",)).whole:
        yield parts.fault(("assistant", "sandboxes"), "the assistant has a policy for sandboxes, and there are none")
    local = [(i, model) for i, model in enumerate(assistant.models) if isinstance(model, LocalModel)]
    used = {model.profile or assistant.profile: i for i, model in reversed(local)}
    for profile, index in used.items():
        if profile not in profiles:
            here = ("assistant", "profile") if profile == assistant.profile else ("assistant", "models", index)
            yield parts.fault(here, f"the assistant names a profile that does not exist: {profile}", _some(profiles))
    yield from _models_are_there(parts, local)
    for index, model in enumerate(assistant.models):
        why = why_unusable(Path(model.key_file)) if isinstance(model, RemoteModel) and model.key_file else ""
        if why:
            message = f"the key of the model {model.id} {why}"
            yield parts.fault(
                ("assistant", "models", index, "key_file"), message, "a file of mode 600 with the key on one line"
            )


def _models_are_there(parts: Parts, local: Sequence[tuple[int, LocalModel]]) -> Iterator[Fault]:
    if parts.data is None:
        return
    try:
        found = entries(parts.data.folders)
    except InputError:
        return  # `courses_use_the_catalogue` says so.
    cards = {entry.card.id: entry.card for entry in found if isinstance(entry.card, ModelCard)}
    for index, model in local:
        if model.id not in cards:
            message = f"the assistant names a model that the catalogue does not have: {model.id}"
            yield parts.fault(("assistant", "models", index, "id"), message, _some(cards))


def image_is_there_and_signed(parts: Parts) -> Iterator[Fault]:
    """Each image has all its files, and its manifest is signed by the site's key; `up` looks at every byte."""
    images = parts.images
    if images is None:
        return
    folder = Path(images.folder)
    if not _is_folder(folder):
        yield parts.fault(("images", "folder"), f"the folder of images does not exist: {folder}", "a folder")
        return
    for number, label in enumerate((images.notebook, *images.others)):
        here: tuple[str | int, ...] = ("images", "others", number - 1) if number else ("images", "notebook")
        if label in (images.notebook, *images.others)[:number]:
            yield parts.fault(here, f"the image {label} is named twice", "each image once")
            continue
        yield from _image_faults(parts, images, label, here)


def _image_faults(parts: Parts, images: ImageSettings, label: str, here: tuple[str | int, ...]) -> Iterator[Fault]:
    files = images.files_of(label)
    missing = [file.name for file in (files.squashfs, files.manifest, files.signature) if not _is_file(file)]
    if missing:
        known = _some(image.label for image in images_in(Path(images.folder), images.key) if not image.problem)
        message = f"the image {label} is not complete in {images.folder}: {_some(missing)} cannot be read"
        yield parts.fault(here, message, known or "an image that leerlab image build made with this key")
        return
    try:
        signed_manifest(files, images.key)
    except ImageRefused as refused:
        yield parts.fault(here, refused.what.removesuffix("."))


def profiles_name_images_of_the_site(parts: Parts) -> Iterator[Fault]:
    """A profile's image is one of the section `images`."""
    whole = parts.images is not None or not parts.document.find(("images",)).whole
    known = parts.images.labels if parts.images is not None else ()
    for index, profile in parts.profiles:
        if profile.image is not None and whole and profile.image not in known:
            message = f"the profile {profile.id} names an image that the site does not: {profile.image}"
            yield parts.fault(("profiles", index, "image"), message, _some(known) or "no image without `images`")


def limits_can_be_kept(parts: Parts) -> Iterator[Fault]:
    """Slurm counts, for each person, and every limit can hold for somebody."""
    everybody = ""
    for index, one in parts.limits:
        if everybody:
            message = (
                f"the limit {one.id} holds for nobody: {everybody} before it is for everybody, and the first holds"
            )
            yield parts.fault(("limits", index), message, "the one for everybody as the last")
        everybody = everybody or ("" if one.groups else one.id)
        if kept_by_slurm([one]) and not getattr(parts.cluster, "accounting", True):
            message = f"the limit {one.id} is kept by Slurm's accounting, and this cluster counts nothing"
            yield parts.fault(("limits", index), message, "only with `cluster.accounting: true`")
    for index, profile in parts.profiles:
        if profile.account is not None and kept_by_slurm([one for _, one in parts.limits]):
            message = f"the profile {profile.id} is charged to {profile.account}, where `limits` of persons do not hold"
            yield parts.fault(("profiles", index, "account"), message, "no account with limits")


def services_have_plain_profiles(parts: Parts) -> Iterator[Fault]:
    """What is for one person's own server has no place in a profile of graded runs, sandboxes or models."""
    users: list[tuple[tuple[str | int, ...], str, tuple[str, ...]]] = []
    if parts.grading is not None:
        users.append((("grading", "profile"), parts.grading.profile, ("image", "per_person", "reservation")))
    if parts.sandboxes is not None:
        users.append(
            (("sandboxes", "profile"), parts.sandboxes.profile, ("account", "per_person", "qos", "reservation"))
        )
    if parts.assistant is not None:
        kept = ("image", "per_person", "reservation")
        users.append((("assistant", "profile"), parts.assistant.profile, kept))
        for index, model in enumerate(parts.assistant.models):
            if isinstance(model, LocalModel) and model.profile:
                users.append((("assistant", "models", index, "profile"), model.profile, kept))
    profiles = {profile.id: profile for _, profile in parts.profiles}
    for place, name, keys in users:
        profile = profiles.get(name)
        for key in keys if profile is not None else ():
            if getattr(profile, key) is not None:
                message = f"the profile {name} has `{key}`, which is for people's own servers alone"
                yield parts.fault(place, message, f"a profile without {key}")


RULES = (
    names_are_unique,
    profiles_fit_the_cluster,
    profiles_exist,
    courses_have_folders,
    courses_use_the_catalogue,
    groups_belong_to_courses,
    rules_give_known_groups,
    client_secrets_are_readable,
    logins_are_encrypted_on_the_way,
    https_can_work,
    demo_login_stays_here,
    graded_runs_have_time,
    graded_runs_have_memory,
    sandboxes_can_run,
    assistant_names_what_exists,
    image_is_there_and_signed,
    profiles_name_images_of_the_site,
    services_have_plain_profiles,
    limits_can_be_kept,
    accounts_can_be_used,
    shared_data_is_there,
)
# Those that look at files which only the machine of the site has.
OF_THIS_MACHINE = (client_secrets_are_readable, shared_data_is_there)


def _valid(adapter: TypeAdapter[_T], value: Any) -> _T | None:
    try:
        return adapter.validate_json(json.dumps(value), strict=True)
    except ValidationError:
        return None


def _members(model: type[_M], value: Any) -> list[tuple[int, _M]]:
    """The members of a list that are right, each with its index."""
    adapter = TypeAdapter(model)
    checked = (
        (index, _valid(adapter, member)) for index, member in enumerate(value if isinstance(value, list) else ())
    )
    return [(index, member) for index, member in checked if member is not None]


def _some(names: Iterable[str]) -> str:
    """Names for a message; all of them where they are not many."""
    shown = list(islice(names, 21))
    return ", ".join(shown[:20]) + (", ..." if len(shown) > 20 else "")


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # such as a name too long, or a folder above it that this account may not enter
        return False


def _is_file(path: Path) -> bool:
    return path.is_file() and os.access(path, os.R_OK)


def _folders(path: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in path.iterdir() if entry.is_dir())
    except OSError:
        return []
