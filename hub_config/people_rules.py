"""Rules of site.yaml about people's unix accounts and the folders that their servers share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from base.yaml_source import Fault
from cluster.settings import EmbeddedCluster
from cluster.unix_accounts import DirectoryAccounts

if TYPE_CHECKING:
    from hub_config.rules import Parts


def accounts_can_be_used(parts: Parts) -> Iterator[Fault]:
    """Only a Slurm of root's runs jobs as other accounts, and only a login with claims says whose account is which."""
    accounts = parts.accounts
    if accounts is None:
        return
    if isinstance(parts.cluster, EmbeddedCluster):
        message = "the embedded Slurm is run by an ordinary account, which can start no job as another"
        yield parts.fault(("unix_accounts",), message, "unix_accounts with `cluster.kind: existing`, or leave it out")
    login = parts.document.find(("login", "kind"))
    if isinstance(accounts, DirectoryAccounts) and login.whole and login.node.value == "demo":
        message = "people of the demo login have no claims that could name their account"
        yield parts.fault(("unix_accounts", "kind"), message, "`made`, or `login.kind: oidc`")


def shared_data_is_there(parts: Parts) -> Iterator[Fault]:
    """The folders that servers share exist, and everybody can read them."""
    for index, profile in parts.profiles:
        for number, one in enumerate(profile.data):
            here = ("profiles", index, "data", number, "folder")
            try:
                mode = Path(one.folder).stat().st_mode
            except OSError as error:
                message = f"the data {one.name} of the profile {profile.id}: {one.folder}: {error.strerror}"
                yield parts.fault(here, message, "an existing folder")
                continue
            if not Path(one.folder).is_dir() or mode & 0o005 != 0o005:
                message = f"the data {one.name} of the profile {profile.id} is no folder that everybody can read"
                yield parts.fault(here, f"{message}: {one.folder}", "a folder of mode 755")
