"""Settings of the listener that takes events of token issuers; a part of the table in `tollhouse/options.py`."""

from __future__ import annotations

from tollhouse.setting import Setting

_SERVICE = "extauthz"

EVENTS = Setting(
    "--events",
    "Where logouts and security events of token issuers are taken, over HTTPS; without it nowhere.",
    "An address that the issuers reach and clients do not. Off loopback it needs `--events-tls-cert`. Needs `--store` "
    "and a provider with `events`; one replica that takes them is enough for all, two outlive one.",
    None,
    "HOST:PORT",
    service=_SERVICE,
)
EVENTS_TLS_CERT = Setting(
    "--events-tls-cert",
    "PEM file: certificate of --events, intermediates.",
    "Of an authority that the issuers believe. Followed without a restart; /readyz warns a week before it expires.",
    None,
    "FILE",
    service=_SERVICE,
)
EVENTS_TLS_KEY = Setting(
    "--events-tls-key",
    "PEM file: private key of --events-tls-cert.",
    "Mode 600, not encrypted.",
    None,
    "FILE",
    service=_SERVICE,
)
EVENTS_PUSH_TOKEN_FILE = Setting(
    "--events-push-token-file",
    "File with the token that senders of security events show as Authorization: Bearer.",
    "One line of 32 or more random letters and digits, mode 600, where the issuer can send one. It comes on top of the "
    "signature of each event; logouts carry none.",
    None,
    "FILE",
    service=_SERVICE,
)

EVENT_SETTINGS = (EVENTS, EVENTS_TLS_CERT, EVENTS_TLS_KEY)
"""In the order of docs/configuration.md; the token file stands among the secrets there."""
