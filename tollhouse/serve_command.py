"""`tollhouse serve` on the command line: options and variables of `options.SETTINGS` become one `ServeRequest`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from policy.settings import ServiceSettings
from tollhouse import options
from tollhouse.serve import HostBounds, ServeRequest, ServiceName, TlsRequest, Transport, UsageError, serve


def serve_command(  # noqa: PLR0913 - one parameter an option
    service: Annotated[ServiceName, typer.Argument(help="Which service to run.")],
    policies: Annotated[Path, options.POLICIES.option()],
    listen: Annotated[str, options.LISTEN.option()],
    admin: Annotated[str | None, options.ADMIN.option()] = options.ADMIN.default,
    admin_token_file: Annotated[Path | None, options.ADMIN_TOKEN_FILE.option()] = options.ADMIN_TOKEN_FILE.default,
    transport: Annotated[Transport | None, options.TRANSPORT.option()] = options.TRANSPORT.default,
    store: Annotated[str, options.STORE.option()] = options.STORE.default,
    store_username: Annotated[str, options.STORE_USERNAME.option()] = options.STORE_USERNAME.default,
    store_password_file: Annotated[
        Path | None, options.STORE_PASSWORD_FILE.option()
    ] = options.STORE_PASSWORD_FILE.default,
    card_key_file: Annotated[Path | None, options.CARD_KEY_FILE.option()] = options.CARD_KEY_FILE.default,
    insecure_listen: Annotated[bool, options.INSECURE_LISTEN.option()] = options.INSECURE_LISTEN.default,
    tls_cert: Annotated[Path | None, options.TLS_CERT.option()] = options.TLS_CERT.default,
    tls_key: Annotated[Path | None, options.TLS_KEY.option()] = options.TLS_KEY.default,
    tls_client_ca: Annotated[Path | None, options.TLS_CLIENT_CA.option()] = options.TLS_CLIENT_CA.default,
    peer_san: Annotated[list[str] | None, options.PEER_SAN.option()] = options.PEER_SAN.default,
    decision_log: Annotated[str, options.DECISION_LOG.option()] = options.DECISION_LOG.default,
    log_level: Annotated[str, options.LOG_LEVEL.option()] = options.LOG_LEVEL.default,
    errors_uri: Annotated[str, options.ERRORS_URI.option()] = options.ERRORS_URI.default,
    realm: Annotated[str, options.REALM.option()] = options.REALM.default,
    max_message_bytes: Annotated[int, options.MAX_MESSAGE_BYTES.option()] = options.MAX_MESSAGE_BYTES.default,
    default_timeout_seconds: Annotated[
        float, options.DEFAULT_TIMEOUT_SECONDS.option()
    ] = options.DEFAULT_TIMEOUT_SECONDS.default,
    max_timeout_seconds: Annotated[float, options.MAX_TIMEOUT_SECONDS.option()] = options.MAX_TIMEOUT_SECONDS.default,
    drain_seconds: Annotated[float, options.DRAIN_SECONDS.option()] = options.DRAIN_SECONDS.default,
    lame_duck_seconds: Annotated[float, options.LAME_DUCK_SECONDS.option()] = options.LAME_DUCK_SECONDS.default,
) -> None:
    """Run one of the two services until SIGTERM or Ctrl-C; drains before it stops.

    Each option can also be set by the variable in brackets; docs/configuration.md has them all.
    """
    for warning in options.unknown_variables(os.environ):
        typer.echo(f"tollhouse serve: {warning}", err=True)
    if service is ServiceName.RATELIMIT and not store:
        store = "memory:"
        typer.echo("ratelimit: no --store given, counters live in this process alone (memory:)", err=True)
    settings = ServiceSettings(
        policies=str(policies.absolute()),
        store=store,
        decision_log=decision_log,
        log_level=log_level,
        errors_uri=errors_uri,
        realm=realm,
        card_key_file=_name_of(card_key_file),
        store_password_file=_name_of(store_password_file),
        store_username=store_username,
    )
    tls = TlsRequest(tls_cert, tls_key, tls_client_ca, tuple(peer_san or ()))
    bounds = HostBounds(
        max_message_bytes, default_timeout_seconds, max_timeout_seconds, drain_seconds, lame_duck_seconds
    )
    request = ServeRequest(service, listen, admin, transport, insecure_listen, tls, settings, bounds, admin_token_file)
    try:
        code = serve(request)
    except UsageError as error:
        typer.echo(f"tollhouse serve: {error}", err=True)
        code = 2
    raise typer.Exit(code)


def _name_of(path: Path | None) -> str:
    """Return the absolute name: the embedded process has another working directory."""
    return "" if path is None else str(path.absolute())
