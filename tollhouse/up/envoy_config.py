"""The reference filter chain on other ports than its own.

envoy/tollhouse.yaml runs as it stands. Each `port_value` in it is a number that occurs once, so another port is
put in by exchanging that number in the text: what a reader sees in the file is what runs, comments included,
and no template or YAML library stands between.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tollhouse.up.failure import UpFailed
from tollhouse.up.ports import DEFAULTS, Ports

REFERENCE: Final = Path(__file__).resolve().parents[2] / "envoy" / "tollhouse.yaml"


def read_reference() -> str:
    """Return the text of envoy/tollhouse.yaml.

    Raises:
        UpFailed: If this is not a checkout, which alone has the file.
    """
    try:
        return REFERENCE.read_text("utf-8")
    except OSError:
        raise UpFailed("envoy/tollhouse.yaml is missing: run `tollhouse up` from a checkout") from None


def on_ports(text: str, ports: Ports) -> str:
    """Return the reference configuration on these ports.

    Raises:
        UpFailed: If a default port does not occur exactly once.
    """
    return exchange_ports(
        text,
        {
            DEFAULTS.envoy: ports.envoy,
            DEFAULTS.envoy_admin: ports.envoy_admin,
            DEFAULTS.extauthz: ports.extauthz,
            DEFAULTS.ratelimit: ports.ratelimit,
            DEFAULTS.upstream: ports.upstream,
        },
    )


def exchange_ports(text: str, wanted: Mapping[int, int]) -> str:
    """Return the text with each `port_value` exchanged; in one pass, so that swapped numbers stay apart.

    Raises:
        UpFailed: If a number to exchange does not occur exactly once.
    """
    found = [int(number) for number in re.findall(r"\bport_value: (\d+)", text)]
    for port in wanted:
        if found.count(port) != 1:
            raise UpFailed(f"envoy/tollhouse.yaml names port {port} {found.count(port)} times instead of once")
    return re.sub(r"\bport_value: (\d+)", lambda hit: f"port_value: {wanted.get(int(hit[1]), int(hit[1]))}", text)
