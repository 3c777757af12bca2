"""Settings of a service process, and the way they reach an embedded one.

The command line builds them; a service that runs inside Envoy's process gets them as one JSON text in
its environment. Secrets never travel here, only names of files.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Final

from chassis.secret_file import exposure_warnings
from chassis.store_link import StoreSettings
from chassis.store_url import StoreLogin

VARIABLE: Final = "TOLLHOUSE_SERVICE_SETTINGS"
"""Environment variable that carries the settings into an embedded process."""

MEMORY_STORE: Final = "memory:"
"""Instead of a URL: what one process knows, until it ends."""

DEFAULT_ERRORS_URI: Final = "https://tollhouse.example/docs/errors.md"


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """What an operator may set for one service, besides its addresses (`HostOptions`).

    Attributes:
        policies: Directory of the policy set; empty only for a rate-limit service that has `descriptors`.
        store: URL of the store for counters and used proofs: `redis://`, `rediss://`, `unix://` or `memory:`; or empty.
        decision_log: `-` for stdout, or a file that is appended to.
        log_level: Name of a logging level.
        errors_uri: Where docs/errors.md is published; problem types point into it.
        realm: Realm of WWW-Authenticate challenges.
        descriptor_key_file: Name of the file with the secrets that name descriptors' counters; empty for none.
        card_key_file: Name of the file with the secrets that card numbers are hashed with; empty for none.
        store_password_file: Name of the file with the store's password; empty for none.
        store_username: ACL user of the store; empty for its default user.
        dpop_nonce_key_file: Name of the file with the keys that DPoP nonces are made with; empty for none.
        sentinel_password_file: Name of the file with the password of the store's sentinels; empty for none.
        store_wait_replicas: How many replicas of the store must confirm a charge; 0 for none.
        single_replica: One lone process counts, so a store that ends with it may be used and may forget.
        jwks_snapshot: Directory where the keys of token issuers are kept for the next start; empty for none.
        client_credentials_dir: Directory with what proves to token issuers who asks; empty for none.
        descriptors: Directory of descriptor files in envoyproxy/ratelimit's format; empty for none.
        descriptors_compat: `envoyproxy` to read and count them as envoyproxy/ratelimit does; else empty.
        merge_domains: Several descriptor files may add to one domain.
        unknown_domain: `deny` or `allow`; empty: `allow` under compat, else `deny`.
        descriptors_on_store_failure: `deny`, `allow` or `error`; empty: `error` under compat, else `deny`.
        store_per_second: URL of the store for descriptors with unit second; empty: `store` takes them too.
        local_cache_size: Counters of descriptors that are over and answered without the store; 0 for none.
        descriptor_key_prefix: Before the name of every counter of descriptors.
        expiration_jitter_seconds: How much longer than its window such a counter lives at most.
        stop_increment_when_over: Under compat: limits that would pass do not grow when another one is over.
        shadow_mode: No descriptor is refused.
        quota_mode: Every descriptor limit counts as a quota limit.
        near_limit_ratio: Share of a limit from which hits count as near it.
        limit_headers: Names of the limit, remaining and reset headers, joined by commas; empty: none.
        descriptor_metadata: Answers about descriptors carry dynamic metadata.
        events: Address of the events listener; empty for none.
        events_tls_cert: PEM file of its certificate; empty for plain HTTP on loopback.
        events_tls_key: PEM file of its key.
        events_push_token_file: Name of the file with the token of those who push security events; empty for none.
        json_listen: Loopback address of `/json` and the debug view; empty: nowhere.
    """

    policies: str
    store: str = ""
    decision_log: str = "-"
    log_level: str = "INFO"
    errors_uri: str = DEFAULT_ERRORS_URI
    realm: str = "tollhouse"
    card_key_file: str = ""
    descriptor_key_file: str = ""
    store_password_file: str = ""
    store_username: str = ""
    jwks_snapshot: str = ""
    client_credentials_dir: str = ""
    dpop_nonce_key_file: str = ""
    single_replica: bool = False
    store_wait_replicas: int = 0
    sentinel_password_file: str = ""
    descriptors: str = ""
    descriptors_compat: str = ""
    merge_domains: bool = False
    unknown_domain: str = ""
    descriptors_on_store_failure: str = ""
    store_per_second: str = ""
    local_cache_size: int = 0
    descriptor_key_prefix: str = ""
    expiration_jitter_seconds: int = 300
    stop_increment_when_over: bool = False
    shadow_mode: bool = False
    quota_mode: bool = False
    near_limit_ratio: float = 0.8
    limit_headers: str = ""
    descriptor_metadata: bool = False
    json_listen: str = ""
    events: str = ""
    events_tls_cert: str = ""
    events_tls_key: str = ""
    events_push_token_file: str = ""

    def store_settings(self) -> StoreSettings:
        """Return how a store at a URL is logged in to."""
        path = self.store_password_file
        has_login = path or self.sentinel_password_file
        login = StoreLogin(path, self.store_username, self.sentinel_password_file) if has_login else None
        return StoreSettings(login=login, wait_replicas=self.store_wait_replicas)

    def store_warnings(self) -> tuple[str, ...]:
        """Return what an operator should know about the store's password file."""
        return (*exposure_warnings(self.store_password_file), *exposure_warnings(self.sentinel_password_file))

    def to_environment(self) -> dict[str, str]:
        """Return the environment entry that `read_settings` reads."""
        return {VARIABLE: json.dumps(asdict(self))}


def read_settings(environment: Mapping[str, str] | None = None) -> ServiceSettings:
    """Read what `ServiceSettings.to_environment` wrote.

    Raises:
        ValueError: The variable is absent or not of our making.
    """
    text = (os.environ if environment is None else environment).get(VARIABLE)
    if text is None:
        raise ValueError(f"{VARIABLE} is not set: this application is started by `tollhouse serve`")
    return ServiceSettings(**json.loads(text))
