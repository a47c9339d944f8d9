"""What is known of three identity providers, so that a site.yaml need not say it.

Sources: SURFconext, "Claims" and "Connect with OpenID Connect"; SRAM, "Attributes in SRAM"; both on SURF's wiki. Which
claims a provider really gives is agreed with SURF for each service; the rules of site.yaml say what they mean here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

PresetName = Literal["surfconext", "sram", "eduid", "none"]


@dataclass(frozen=True)
class Preset:
    """A provider's own facts.

    Args:
        title: its name on the login page.
        issuer: its issuer identifier (OpenID Connect Discovery 1.0, section 3).
        scopes: what to ask for.
        claims: names of claims that it can give and that rules can use.
    """

    title: str
    issuer: str
    scopes: tuple[str, ...]
    claims: tuple[str, ...]


PRESETS: dict[str, Preset] = {
    # Attributes follow from the service's agreement with SURF, not from further scopes.
    "surfconext": Preset(
        title="SURFconext",
        issuer="https://connect.surfconext.nl",
        scopes=("openid",),
        claims=(
            "eduperson_affiliation", "eduperson_scoped_affiliation", "eduperson_entitlement",
            "eduperson_principal_name", "schac_home_organization", "edumember_is_member_of", "uids", "eckid",
        ),
    ),
    # Groups are elements `urn:mace:surf.nl:sram:group:<organisation>:<collaboration>[:<group>]` of the entitlement.
    "sram": Preset(
        title="SRAM",
        issuer="https://proxy.sram.surf.nl",
        scopes=("openid", "profile", "eduperson_entitlement", "voperson_external_id", "voperson_external_affiliation"),
        claims=("eduperson_entitlement", "voperson_external_id", "voperson_external_affiliation"),
    ),
    "eduid": Preset(
        title="eduID",
        issuer="https://connect.eduid.nl",
        scopes=("openid",),
        claims=("eduperson_scoped_affiliation", "eduperson_principal_name", "schac_home_organization", "uids"),
    ),
}  # fmt: skip
