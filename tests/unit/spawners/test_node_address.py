"""A node's own address in the site's network."""

from __future__ import annotations

import pytest

from spawners.node_address import NoAddress, address_in


def test_the_address_in_the_network_is_found() -> None:
    assert address_in("127.0.0.0/8").startswith("127.")
    assert address_in("127.0.0.1/32") == "127.0.0.1"


@pytest.mark.parametrize("network", ["203.0.113.0/24", "2001:db8::/32", "10.0.0.1/8", "nothing"])
def test_a_network_in_which_it_has_none_is_refused(network: str) -> None:
    with pytest.raises(NoAddress, match=r"no address|is no network"):
        address_in(network)
