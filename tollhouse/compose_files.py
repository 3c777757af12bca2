"""Write the two files in which the compose stack differs from the reference: `python -m tollhouse.compose_files DIR`.

In containers parts are found by name and not on loopback, so `envoy.yaml` is the reference chain with other
addresses and `providers.yaml` the sample one with another issuer. Each is made by exchanging text that occurs once:
a change of a reference that this does not expect stops it, and a test compares what lies in compose/.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Final

from tollhouse.envoy_tls_file import with_service_tls
from tollhouse.up.envoy_config import read_reference
from tollhouse.up.ports import DEFAULTS

ISSUER_URL: Final = f"https://issuer:{DEFAULTS.issuer}"
_PROVIDERS: Final = Path(__file__).resolve().parents[1] / "policies" / "providers.yaml"
_HEADER: Final = """\
# Generated from {source} by scripts/docs; edit that file.
#
# What differs: the listener is on every address of the container, since compose.yaml alone decides what is published;
# the services and the upstream are found by name; and Envoy and the services prove to each other who they are, as in
# envoy/tollhouse-tls.yaml.
"""
_BY_NAME: Final = """\
    cluster_type:
      name: envoy.clusters.dns
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.clusters.dns.v3.DnsCluster
        dns_refresh_rate: 1s  # a container that was started anew may have another address
        dns_lookup_family: V4_ONLY
        typed_dns_resolver_config:
          name: envoy.network.dns_resolver.cares
          typed_config:
            "@type": type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig
            # While a container is stopped, its name may get no answer; four tries of 5 s would outlast its return.
            query_timeout_seconds: 1
            query_tries: 1
"""
_CLUSTERS: Final = {
    "extauthz": DEFAULTS.extauthz,
    "ratelimit": DEFAULTS.ratelimit,
    "payments_upstream": DEFAULTS.upstream,
}
_HOSTS: Final = {"payments_upstream": "upstream"}


class ReferenceChanged(Exception):  # noqa: N818 - says what happened
    """A reference no longer holds the text to exchange; the message names it."""


def envoy_configuration(reference: str) -> str:
    """Return the reference chain with the addresses of the compose network and TLS to the services."""
    text = (
        _HEADER.format(source="envoy/tollhouse.yaml") + reference[reference.index("\n#\n# Order is the product") + 1 :]
    )
    text = _exchange(text, _address("127.0.0.1", DEFAULTS.envoy), _address("0.0.0.0", DEFAULTS.envoy))  # noqa: S104
    # In the metadata of the API: clients of this stack ask the issuer of this stack.
    text = _exchange(text, f'"http://127.0.0.1:{DEFAULTS.issuer}"', f'"{ISSUER_URL}"')
    for name, port in _CLUSTERS.items():
        text = _exchange(text, _address("127.0.0.1", port), _address(_HOSTS.get(name, name), port))
        text = _exchange(text, f"  - name: {name}\n    type: STATIC\n", f"  - name: {name}\n{_BY_NAME}")
    return with_service_tls(text)


def providers(reference: str) -> str:
    """Return the sample providers.yaml with the issuer of the compose network."""
    usual = f"issuer: http://127.0.0.1:{DEFAULTS.issuer}\n"
    text = _exchange(reference, usual, f"issuer: {ISSUER_URL}\n")
    text, count = re.subn(
        r"allow_http: true #.*\n",
        "allow_private_addresses: true # its name leads to a private network; it speaks https there\n",
        text,
    )
    if count != 1:
        raise ReferenceChanged("allow_http")
    return "# Generated from policies/providers.yaml by scripts/docs; edit that file.\n" + text


def _address(host: str, port: int) -> str:
    return f"{{address: {host}, port_value: {port}}}"


def _exchange(text: str, old: str, new: str) -> str:
    if text.count(old) != 1:
        raise ReferenceChanged(f"{old!r} occurs {text.count(old)} times instead of once")
    return text.replace(old, new)


def compose_files() -> dict[str, str]:
    """Return the text of each file by its name."""
    return {
        "envoy.yaml": envoy_configuration(read_reference()),
        "providers.yaml": providers(_PROVIDERS.read_text("utf-8")),
    }


if __name__ == "__main__":
    for file_name, content in compose_files().items():
        (Path(sys.argv[1]) / file_name).write_text(content, "utf-8")
