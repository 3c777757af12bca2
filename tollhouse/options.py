"""Every setting of `tollhouse serve`, in one table: its option, its environment variable, its help, its page.

`tollhouse/__main__.py` builds the command from it, `tollhouse/configuration_page.py` writes docs/configuration.md,
and `unknown_variables` knows by it which variables mean something. Secrets are no settings: files named here hold them.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Final

from chassis.listen import HostOptions
from policy.settings import ServiceSettings
from tollhouse.descriptor_options import DESCRIPTOR_SETTINGS
from tollhouse.event_options import EVENT_SETTINGS, EVENTS_PUSH_TOKEN_FILE
from tollhouse.setting import PREFIX, REQUIRED, Setting, default_of

# Kubernetes sets these in every pod for a Service called tollhouse-...; they are no settings of ours.
_SERVICE_LINK: Final = re.compile(r"_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP)(_\w+)?)?)\Z")
# Of the compose stack and the tests; they never reach a service's own settings.
_NOT_OF_A_SERVICE: Final = frozenset({"TOLLHOUSE_IMAGE", "TOLLHOUSE_LOCAL_IMAGE", "TOLLHOUSE_TEST_MARK"})

POLICIES = Setting(
    "--policies",
    "Directory of the policy set.",
    "Readable by the service, writable by the security team alone. extauthz needs one; ratelimit needs one or "
    "`--descriptors`, and without one it refuses whatever the gate asks it about payments.",
    None,
    "DIR",
)
DESCRIPTORS = Setting(
    "--descriptors",
    "Directory of limits in envoyproxy/ratelimit's own format.",
    "Of those files alone, writable by their team alone. A set that lists `descriptors/*.yaml` itself takes none "
    "(docs/descriptors.md).",
    None,
    "DIR",
    service="ratelimit",
)
COMPAT = Setting(
    "--compat",
    "envoyproxy: read and count the files of --descriptors as envoyproxy/ratelimit does.",
    "Leave it out once `tollhouse check` is silent without it: what surprises there is an error then.",
    None,
    "envoyproxy",
    service="ratelimit",
)
MERGE_DOMAINS = Setting(
    "--merge-domains",
    "Several files of --descriptors may add to one domain.",
    "Leave it out where one team writes a domain: a second file is then an error.",
    False,
    service="ratelimit",
)
LISTEN = Setting(
    "--listen",
    "Where Envoy calls the service.",
    "Loopback or a Unix socket; elsewhere with mutual TLS (`--tls-cert` and what follows).",
    REQUIRED,
    "HOST:PORT|unix:PATH",
)
ADMIN = Setting(
    "--admin",
    "Where /healthz /readyz /metrics /policy are served; without it nowhere.",
    "Loopback or a Unix socket; elsewhere only with `--admin-token-file`, and with `--tls-cert`: the pages use it.",
    None,
    "HOST:PORT|unix:PATH",
)
ADMIN_TOKEN_FILE = Setting(
    "--admin-token-file",
    "File with the token that admin pages ask for as Authorization: Bearer.",
    "One line of 32 or more random letters and digits, mode 600. Needed off loopback, obeyed on loopback.",
    None,
    "FILE",
)
TRANSPORT = Setting(
    "--transport",
    "How the service speaks gRPC: envoy or grpcio.",
    "Leave it out: envoy wherever Python comes with a shared libpython, else grpcio.",
)
STORE = Setting(
    "--store",
    "Counters and used proofs: redis://HOST:PORT/DB, rediss://, unix://PATH, redis+sentinel://HOST:PORT,…/SERVICE, "
    "rediss+sentinel://, redis+cluster://HOST:PORT,… (ratelimit only), rediss+cluster://, embedded: or memory:.",
    "ratelimit needs one; extauthz needs one when the policy set takes DPoP proofs, demands signed requests or refuses "
    "revoked tokens. One store for all replicas, `rediss://` off this machine, without eviction. memory: and "
    "embedded: (ratelimit only) are for one process alone: a restart forgets what was used. Never a password: it would "
    "stand in the process list.",
    "",
    "URL",
)
SINGLE_REPLICA = Setting(
    "--single-replica",
    "This process alone counts, and a store that ends with it may forget what was used.",
    "Leave it out in production. memory: and embedded: need it. With a store at a URL it switches off the notice "
    "that the store was emptied: amounts then start from zero unseen.",
    False,
    service="ratelimit",
    has_variable=False,
)
STORE_WAIT_REPLICAS = Setting(
    "--store-wait-replicas",
    "How many replicas of the store must confirm a charge before it counts as answered.",
    "1 where the store fails over: else the charges of its last moments are forgotten, and can be spent again. A "
    "charge that too few confirm in time is refused by `on_store_failure: deny`, and stays charged.",
    default_of(ServiceSettings, "store_wait_replicas"),
    "NUMBER",
    (0, 8),
)
STORE_USERNAME = Setting(
    "--store-username",
    "ACL user of the store.",
    "A user that may run scripts and INFO, `CONFIG GET` too, and touch keys `tollhouse:*` alone.",
    "",
    "NAME",
)
STORE_PASSWORD_FILE = Setting(
    "--store-password-file",
    "File with the store's password.",
    "One line, mode 600. Read at every connect, so a new password needs no restart.",
    None,
    "FILE",
)
SENTINEL_PASSWORD_FILE = Setting(
    "--sentinel-password-file",
    "File with the password of the store's sentinels.",
    "One line, mode 600. Read at every connect. Whoever can speak for a sentinel can name another store.",
    None,
    "FILE",
)
DPOP_NONCE_KEY_FILE = Setting(
    "--dpop-nonce-key-file",
    "File with the keys that DPoP nonces are made with.",
    "Mode 600, written like a card key file but with keys of its own; the same for all replicas. Needed as soon as a "
    "provider has `nonce: required`.",
    None,
    "FILE",
    service="extauthz",
)
DESCRIPTOR_KEY_FILE = Setting(
    "--descriptor-key-file",
    "File with the keys that names of descriptors' counters are hashed with; `tollhouse card-key new` makes one.",
    "Mode 600, the same file for every replica. Without it the store shows addresses, users and whatever else requests "
    "are counted by. Beside an envoyproxy/ratelimit on the same store leave it out: it counts under plain names.",
    None,
    "FILE",
    service="ratelimit",
)
CARD_KEY_FILE = Setting(
    "--card-key-file",
    "File with the keys that card numbers, payers, devices and addresses are hashed with.",
    "Mode 600, 32 random bytes a key; needed as soon as a profile has `card_number`, a quota counts per payer, device "
    "or ip, or an operation has `idempotency: upstream_enforced`. The limiter needs none.",
    None,
    "FILE",
    service="extauthz",
)
JWKS_SNAPSHOT = Setting(
    "--jwks-snapshot",
    "Directory where the keys of token issuers are kept, for a start while an issuer is away.",
    "On a disk of its own user, mode 700: a file that another user could have written is not used. Keys out of it "
    "live no longer than `keys_stale_seconds` says.",
    None,
    "DIR",
    service="extauthz",
)
CLIENT_CREDENTIALS_DIR = Setting(
    "--client-credentials-dir",
    "Directory with what proves to token issuers who asks about a token.",
    "Mode 700; for a provider `shop`: shop.secret for its client secret, shop.key for a private key, shop.crt for a "
    "client certificate. Needed as soon as a provider has `introspection`.",
    None,
    "DIR",
    service="extauthz",
)
INSECURE_LISTEN = Setting(
    "--insecure-listen",
    "Accept a --listen that other machines can reach without mutual TLS.",
    "Leave it out: whoever reaches the port can burn quotas and forge identities. /readyz and a metric say when it is "
    "in use.",
    False,
    has_variable=False,
)
TLS_CERT = Setting(
    "--tls-cert",
    "PEM file: certificate of --listen, intermediates.",
    "Followed without a restart. /readyz warns a week before it expires.",
    None,
    "FILE",
)
TLS_KEY = Setting(
    "--tls-key",
    "PEM file: private key of --tls-cert.",
    "Mode 600, not encrypted.",
    None,
    "FILE",
)
TLS_CLIENT_CA = Setting(
    "--tls-client-ca",
    "PEM file: authorities of the callers; needs --peer-san.",
    "An authority of your own, never a public one.",
    None,
    "FILE",
)
PEER_SAN = Setting(
    "--peer-san",
    "Name that a caller's certificate must carry, exactly: a URI or a DNS name. Repeatable.",
    "Envoy's names alone. In the variable names are separated by blanks.",
    None,
    "NAME",
)
OUTCOME_PEER_SAN = Setting(
    "--outcome-peer-san",
    "Name, as for --peer-san, of a caller that may tell outcomes (ratelimit). Repeatable.",
    "Envoy's own name: whoever tells outcomes can give back what was used. Off loopback nobody may without it.",
    None,
    "NAME",
)
DECISION_LOG = Setting(
    "--decision-log",
    "File for decision records, JSON lines; - is stdout.",
    "On a disk with room: a record a request. Losses are counted and shown on /readyz.",
    default_of(ServiceSettings, "decision_log"),
    "FILE",
)
LOG_LEVEL = Setting(
    "--log-level",
    "DEBUG, INFO, WARNING or ERROR.",
    "INFO; WARNING hides which policy revision was loaded when.",
    default_of(ServiceSettings, "log_level"),
    "LEVEL",
)
ERRORS_URI = Setting(
    "--errors-uri",
    "Where docs/errors.md is published; problem types point there.",
    "A page that merchants can reach.",
    default_of(ServiceSettings, "errors_uri"),
    "URL",
)
REALM = Setting(
    "--realm",
    "Realm of WWW-Authenticate challenges.",
    "A name of the API, without quotes.",
    default_of(ServiceSettings, "realm"),
    "NAME",
    service="extauthz",
)
MAX_MESSAGE_BYTES = Setting(
    "--max-message-bytes",
    "Longest gRPC request; longer ones are RESOURCE_EXHAUSTED.",
    "Above the body that Envoy buffers (64 KiB) and its headers; a large one lets callers take memory.",
    default_of(HostOptions, "max_message_bytes"),
    "BYTES",
    (131_072, 4_194_304),
)
DEFAULT_TIMEOUT_SECONDS = Setting(
    "--default-timeout-seconds",
    "Deadline of a call that brings none.",
    "Near Envoy's own time-out for the service.",
    default_of(HostOptions, "default_timeout_seconds"),
    "SECONDS",
    (0.05, 10.0),
)
MAX_TIMEOUT_SECONDS = Setting(
    "--max-timeout-seconds",
    "Longest deadline; a longer one is cut to it.",
    "Not below Envoy's time-out; a long one lets calls pile up.",
    default_of(HostOptions, "max_timeout_seconds"),
    "SECONDS",
    (0.1, 60.0),
)
DRAIN_SECONDS = Setting(
    "--drain-seconds",
    "Longest wait for calls in flight at a stop.",
    "Above the longest deadline; together with `--lame-duck-seconds` below what the supervisor grants before it kills.",
    default_of(HostOptions, "drain_seconds"),
    "SECONDS",
    (0.0, 300.0),
)
LAME_DUCK_SECONDS = Setting(
    "--lame-duck-seconds",
    "How long NOT_SERVING is shown before the listener closes.",
    "Above Envoy's health check interval: shorter, and calls still come when nobody listens.",
    default_of(HostOptions, "lame_duck_seconds"),
    "SECONDS",
    (0.0, 60.0),
)

SETTINGS: Final[Mapping[str, tuple[Setting, ...]]] = {
    "Service": (
        POLICIES,
        DESCRIPTORS,
        COMPAT,
        MERGE_DOMAINS,
        LISTEN,
        TRANSPORT,
        DECISION_LOG,
        LOG_LEVEL,
        ERRORS_URI,
        REALM,
    ),
    "Secrets": (
        CARD_KEY_FILE,
        DESCRIPTOR_KEY_FILE,
        DPOP_NONCE_KEY_FILE,
        STORE_PASSWORD_FILE,
        SENTINEL_PASSWORD_FILE,
        ADMIN_TOKEN_FILE,
        EVENTS_PUSH_TOKEN_FILE,
    ),
    "Store": (STORE, SINGLE_REPLICA, STORE_WAIT_REPLICAS, STORE_USERNAME),
    "Descriptors": DESCRIPTOR_SETTINGS,
    "TLS": (TLS_CERT, TLS_KEY, TLS_CLIENT_CA, PEER_SAN, OUTCOME_PEER_SAN, INSECURE_LISTEN),
    "Token issuers": (JWKS_SNAPSHOT, CLIENT_CREDENTIALS_DIR),
    "Events of token issuers": EVENT_SETTINGS,
    "Admin pages": (ADMIN,),
    "Times and sizes": (
        MAX_MESSAGE_BYTES,
        DEFAULT_TIMEOUT_SECONDS,
        MAX_TIMEOUT_SECONDS,
        DRAIN_SECONDS,
        LAME_DUCK_SECONDS,
    ),
}
"""All settings by chapter of docs/configuration.md."""


def unknown_variables(environment: Iterable[str]) -> list[str]:
    """Return a warning for each variable that begins like ours and is none; values are never looked at.

    A misspelt name would otherwise mean "not set", and nobody would know.
    """
    known = _variables()
    warnings: list[str] = []
    for name in sorted(environment):
        if not name.startswith(PREFIX) or name in known or name in _NOT_OF_A_SERVICE or _SERVICE_LINK.search(name):
            continue
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
        hint = f"; did you mean {close[0]}?" if close else ""
        warnings.append(f"the environment variable {name} means nothing here and was ignored{hint}")
    return warnings


def empty_variables(environment: Mapping[str, str]) -> list[str]:
    """Return what is wrong with the variables of settings that are there and hold nothing.

    Somebody meant to give each a value that came to nothing, and a default in its place would weaken what he set.
    """
    return [
        f"the environment variable {name} is empty: give it a value, or unset it"
        for name in sorted(_variables())
        if name in environment and not environment[name].strip()
    ]


def _variables() -> set[str]:
    return {setting.variable for chapter in SETTINGS.values() for setting in chapter if setting.variable}
