"""This machine's own address in the site's network: standard library only, because a job's wrapper asks."""

from __future__ import annotations

import socket


class NoAddress(Exception):
    """This machine has no address in the network."""


def address_in(network: str) -> str:
    """The address with which this machine would send to the network; nothing is sent.

    Args:
        network: such as `10.20.0.0/16`.

    Raises:
        NoAddress: the machine has none there, or the network is not one.
    """
    # Here, because the wrapper of a site on one machine has no use for it.
    import ipaddress  # noqa: PLC0415

    try:
        wanted = ipaddress.ip_network(network)
    except ValueError as error:
        raise NoAddress(f"{network} is no network.") from error
    family = socket.AF_INET if wanted.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((str(wanted[min(1, wanted.num_addresses - 1)]), 9))
            own = str(probe.getsockname()[0])
        except OSError:
            own = ""
    if own and ipaddress.ip_address(own) in wanted:
        return own
    raise NoAddress(
        f"This node has no address in the site's network {network}, so nobody could reach what runs here. Give it one, "
        "or mend cluster.network in site.yaml."
    )
