"""The assistant of a site, for its other parts: the gateway's configuration, what labs are told, what pages say."""

from __future__ import annotations

from collections.abc import Collection
from functools import cache
from pathlib import Path

from assistant.configuration import GatewayConfiguration, LocalWeights
from assistant.policy import Allowed, Place, Purpose, allowed, of_groups, of_sandbox
from assistant.settings import AssistantSettings, LocalModel
from base.errors import InputError
from base.paths import Installation, State
from base.settings import BothLanguages
from catalogue.card import ModelCard
from catalogue.entries import Entry, entries, entry_of
from cluster.accounting import course_account
from courses.catalogue import Course
from hub_config.assistant_in_labs import Offer
from hub_config.audit import LEDGER_KEY, ledger_url
from hub_config.courses import course_folder
from hub_config.run.keys import secret
from hub_config.site import Site
from hub_config.slurm import commands_of, hub_id, slurm_conf_of
from portal.configuration import AssistantShown

ASSISTANT_TOKEN = "assistant-token"  # noqa: S105 - a file's name
_ANY_SANDBOX = ""


def weights_of(site: Site, settings: AssistantSettings) -> dict[str, LocalWeights]:
    """What the catalogue says of each local model.

    Raises:
        InputError: the catalogue has no such model; `leerlab check` finds that first.
    """
    found = _catalogue(site.catalogue.folders)
    weights: dict[str, LocalWeights] = {}
    for model in settings.models:
        if not isinstance(model, LocalModel):
            continue
        card = entry_of(found, model.id).card
        if not isinstance(card, ModelCard):
            raise InputError(f"{model.id} of the catalogue is no model.", do="Run leerlab check.")
        file = f"{card.id}/{card.version}/{card.files[0].name}"
        weights[model.id] = LocalWeights(does=card.does, file=file, context=card.context)
    return weights


@cache
def _catalogue(folders: tuple[str, ...]) -> list[Entry]:
    """The cards, read once: every start of a server asks what the models are for."""
    return entries(folders)


def gateway_configuration(
    site: Site, settings: AssistantSettings, state: State, installation: Installation
) -> GatewayConfiguration:
    """What the gateway is told."""
    secret(state, ASSISTANT_TOKEN)
    return GatewayConfiguration(
        state=state.root,
        hub_id=hub_id(state),
        hub=f"unix:{state.run / 'hub.sock'}",
        token_file=state.secrets / ASSISTANT_TOKEN,
        assistant=settings,
        local=weights_of(site, settings),
        profiles=site.profiles,
        confinement=site.confinement,
        titles={course.id: _title(course_folder(course, installation.code)) for course in site.courses},
        sandboxes=site.sandboxes is not None,
        language=site.site.language,
        slurm_conf=slurm_conf_of(site, state),
        slurm_commands=commands_of(site),
        slurm_answer=site.cluster.interval.answer,
        publish_on=site.cluster.publish_on,
        account=course_account(site.cluster),
        ledger=ledger_url(site, state),
        ledger_key=state.secrets / LEDGER_KEY,
    )


@cache
def _title(folder: Path) -> BothLanguages:
    return Course.load(folder).description.title


def offer_to(groups: Collection[str], site: Site, code: Path) -> Offer:
    """What holds for a person's own server at its start.

    Args:
        groups: the person's, of the hub.
        site: the checked settings.
        code: the installation's code, with its courses.
    """
    if site.assistant is None:
        return Offer()
    found = allowed(of_groups(groups, site.assistant), site.assistant)
    return _offer(found, site, site.assistant, _because(found, site, code))


def offer_in_sandbox(site: Site) -> Offer:
    """What holds for a member's server in a sandbox at its start."""
    if site.assistant is None:
        return Offer()
    found = allowed(of_sandbox(_ANY_SANDBOX), site.assistant)
    return _offer(found, site, site.assistant, {"nl": "deze sandbox", "en": "this sandbox"} if not found.on else {})


def _offer(found: Allowed, site: Site, settings: AssistantSettings, because: dict[str, str]) -> Offer:
    """Models that chat come first: the first is the one that is meant when none is named."""
    if not found.on:
        return Offer(because=because)
    local = weights_of(site, settings)

    def other(model: str) -> bool:
        known = settings.model(model)
        does = local[model].does if isinstance(known, LocalModel) else getattr(known, "does", "")
        return bool(does != "chat")

    return Offer(tuple(sorted(found.models, key=other)), found.tokens_per_hour)


def _because(found: Allowed, site: Site, code: Path) -> dict[str, str]:
    """The title of the first course that switches the assistant off, by language."""
    course = next((one for one in found.because if one.place is Place.COURSE), None)
    if course is None:
        return {}
    known = next((one for one in site.courses if one.id == course.id), None)
    title = _title(course_folder(known, code)) if known is not None else BothLanguages(nl=course.id, en=course.id)
    return {"nl": f"de cursus {title.nl}", "en": f"the course {title.en}"}


def shown_in(course: str, site: Site) -> AssistantShown | None:
    """What a course's page says of the assistant; nothing where the site has none."""
    return _shown(Purpose(Place.COURSE, course), site)


def shown_in_sandboxes(site: Site) -> AssistantShown | None:
    """What pages of sandboxes say of the assistant; nothing where the site has none."""
    return _shown(Purpose(Place.SANDBOX, _ANY_SANDBOX), site)


def _shown(purpose: Purpose, site: Site) -> AssistantShown | None:
    if site.assistant is None:
        return None
    found = allowed([purpose], site.assistant)
    return AssistantShown(on=found.on, tokens_per_hour=found.tokens_per_hour)
