"""Which addresses are never called, in every spelling."""

import ipaddress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lastgood.signals.addresses import AddressPolicy
from lastgood.signals.errors import RefusedAddressError

POLICY = AddressPolicy()
LINK_LOCAL = ipaddress.IPv4Network("169.254.0.0/16")


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("169.254.169.254", "cloud metadata"),
        ("fd00:ec2::254", "cloud metadata"),
        ("fd20:ce::254", "cloud metadata"),
        ("100.100.100.200", "cloud metadata"),
        ("168.63.129.16", "cloud metadata"),
        ("::ffff:168.63.129.16", "cloud metadata"),
        ("64:ff9b::6464:64c8", "cloud metadata"),
        ("169.254.0.1", "link-local"),
        ("fe80::1", "link-local"),
        ("fe80::1%eth0", "link-local"),
        ("febf:ffff::1", "link-local"),
        ("224.0.0.1", "multicast"),
        ("ff02::1", "multicast"),
        ("0.0.0.0", "unspecified"),  # noqa: S104 an address to refuse
        ("0.1.2.3", "unspecified"),
        ("::", "unspecified"),
        ("255.255.255.255", "broadcast"),
        ("64:ff9b:1::a9fe:a9fe", "ambiguous"),
        ("127.0.0.1", "loopback"),
        ("127.255.0.1", "loopback"),
        ("::1", "loopback"),
        ("::ffff:127.0.0.1", "loopback"),
        ("2001:0:a9fe:a9fe::1", "cloud metadata"),  # Teredo's server
        ("2001:0:808:808:0:0:5601:5601", "cloud metadata"),  # Teredo's client, flipped
    ],
)
def test_it_is_refused(address: str, kind: str) -> None:
    with pytest.raises(RefusedAddressError, match=kind):
        POLICY.check(address)


@pytest.mark.parametrize(
    "address",
    ["10.0.0.1", "172.16.3.4", "192.168.1.1", "100.64.0.1", "8.8.8.8", "fd00::1", "2606:4700::1", "64:ff9b::808:808"],
)
def test_where_metrics_live_is_called(address: str) -> None:
    POLICY.check(address)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
def test_loopback_is_called_where_a_setting_says_so(address: str) -> None:
    AddressPolicy(allow_loopback=True).check(address)


@pytest.mark.parametrize(
    "text", ["", "localhost", "2130706433", "0x7f000001", "127.1", "010.0.0.1", "fe80::1%25%eth0x/"]
)
def test_what_is_not_an_address_in_numbers_is_refused(text: str) -> None:
    with pytest.raises(RefusedAddressError):
        POLICY.check(text)


@settings(deadline=None)  # a busy machine is no failure
@given(
    address=st.ip_addresses(v=4, network=LINK_LOCAL),
    prefix=st.sampled_from(["::ffff:", "::", "64:ff9b::", "::ffff:0:"]),
)
def test_no_ipv6_form_hides_a_refused_ipv4_address(address: ipaddress.IPv4Address, prefix: str) -> None:
    with pytest.raises(RefusedAddressError):
        POLICY.check(prefix + str(address))
