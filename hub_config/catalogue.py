"""The catalogue of a site: Leerlab's own datasets and models, and those of the site's folders."""

from __future__ import annotations

from base.paths import Installation, State
from catalogue.entries import Entry, entries
from catalogue.shelf import Shelf, Sources, Step
from hub_config.site import Site


def entries_of(site: Site) -> list[Entry]:
    """Every dataset and model of the site.

    Raises:
        InputError: a card is wrong, or a folder of site.yaml is missing.
    """
    return entries(site.catalogue.folders)


def prepare_catalogue(site: Site, state: State, installation: Installation, step: Step) -> list[str]:
    """Put all of them on the shelf that every wall sees, each file checked.

    Args:
        step: called with one English phrase for each that is put there.

    Returns:
        Ids of those that were put there.

    Raises:
        LeerlabError: a file is missing or changed, or the shelf cannot be written.
    """
    return Shelf(state.catalogue).prepare(entries_of(site), Sources(installation.code, installation.packages), step)
