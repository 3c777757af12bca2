import re
import socket
from dataclasses import astuple

import pytest

from tollhouse.up.envoy_config import exchange_ports, on_ports, read_reference
from tollhouse.up.failure import UpFailed
from tollhouse.up.ports import DEFAULTS, Ports, choose_ports

OTHER = Ports(*range(20001, 20010))


def test_reference_on_its_own_ports_is_unchanged() -> None:
    text = read_reference()

    assert on_ports(text, DEFAULTS) == text


def test_reference_on_other_ports_differs_in_port_numbers_alone() -> None:
    text = read_reference()
    moved = on_ports(text, OTHER)

    assert re.sub(r"port_value: \d+", "", moved) == re.sub(r"port_value: \d+", "", text)
    assert sorted(map(int, re.findall(r"port_value: (\d+)", moved))) == sorted(
        [OTHER.envoy, OTHER.envoy_admin, OTHER.extauthz, OTHER.ratelimit, OTHER.upstream]
    )


def test_ports_that_change_places_do_not_run_into_each_other() -> None:
    assert exchange_ports("port_value: 1\nport_value: 2\n", {1: 2, 2: 1}) == "port_value: 2\nport_value: 1\n"


@pytest.mark.parametrize("text", ["port_value: 2", "port_value: 1\nport_value: 1", "port_value: 11"])
def test_port_that_does_not_occur_once_is_refused(text: str) -> None:
    with pytest.raises(UpFailed, match="port 1 "):
        exchange_ports(text, {1: 9})


def test_port_in_use_is_named_with_the_way_out() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        with pytest.raises(UpFailed, match=rf"port {port} is in use.*--port"):
            choose_ports(port)


def test_any_ports_are_all_different() -> None:
    ports = astuple(choose_ports(None))

    assert len(set(ports)) == len(ports)
