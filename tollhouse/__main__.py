"""The command line. Operators script it: names and options stay as they are."""

from __future__ import annotations

import datetime as dt
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from policy.settings import DEFAULT_ERRORS_URI, ServiceSettings
from tollhouse.serve import ServeRequest, ServiceName, TlsRequest, Transport, UsageError, serve

app = typer.Typer(
    name="tollhouse",
    help="The gate of a payment platform: token checks, merchant quotas and risk rules for Envoy, as YAML policy.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


class OutputFormat(StrEnum):
    """How `check` prints."""

    TEXT = "text"
    JSON = "json"


@app.command("serve")
def serve_command(  # noqa: PLR0913 - one parameter an option
    service: Annotated[ServiceName, typer.Argument(help="Which service to run.")],
    policies: Annotated[Path, typer.Option(help="Directory of the policy set.")],
    listen: Annotated[str, typer.Option(help="HOST:PORT or unix:PATH that Envoy calls.")],
    admin: Annotated[
        str | None, typer.Option(help="HOST:PORT on loopback for /healthz /readyz /metrics /policy.")
    ] = None,
    transport: Annotated[
        Transport | None, typer.Option(help="Default: envoy wherever a shared libpython is found, else grpcio.")
    ] = None,
    store: Annotated[
        str,
        typer.Option(help="Counters of ratelimit: redis://HOST:PORT/DB, rediss://, unix://PATH, embedded:, memory:."),
    ] = "",
    insecure_listen: Annotated[
        bool,
        typer.Option("--insecure-listen", help="Accept a --listen that other machines can reach without mutual TLS."),
    ] = False,
    tls_cert: Annotated[Path | None, typer.Option(help="PEM file: certificate of --listen, intermediates.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="PEM file: private key of --tls-cert.")] = None,
    tls_client_ca: Annotated[
        Path | None, typer.Option(help="PEM file: authorities of the callers; needs --peer-san.")
    ] = None,
    peer_san: Annotated[
        list[str] | None,
        typer.Option(help="Name that a caller's certificate must carry, exactly: a URI or a DNS name. Repeatable."),
    ] = None,
    decision_log: Annotated[str, typer.Option(help="File for decision records, JSON lines; - is stdout.")] = "-",
    log_level: Annotated[str, typer.Option(help="DEBUG, INFO, WARNING or ERROR.")] = "INFO",
    errors_uri: Annotated[str, typer.Option(help="Where docs/errors.md is published.")] = DEFAULT_ERRORS_URI,
) -> None:
    """Run one of the two services until SIGTERM or Ctrl-C; drains before it stops."""
    if service is ServiceName.RATELIMIT and not store:
        store = "memory:"
        typer.echo("ratelimit: no --store given, counters live in this process alone (memory:)", err=True)
    settings = ServiceSettings(
        policies=str(policies.absolute()),
        store=store,
        decision_log=decision_log,
        log_level=log_level,
        errors_uri=errors_uri,
    )
    tls = TlsRequest(tls_cert, tls_key, tls_client_ca, tuple(peer_san or ()))
    request = ServeRequest(service, listen, admin, transport, insecure_listen, tls, settings)
    try:
        code = serve(request)
    except UsageError as error:
        typer.echo(f"tollhouse serve: {error}", err=True)
        code = 2
    raise typer.Exit(code)


@app.command("up")
def up_command(
    once: Annotated[bool, typer.Option("--once", help="Send the sample payments, print a table, stop.")] = False,
    port: Annotated[int, typer.Option(help="Port of the Envoy listener.", min=1024, max=65535)] = 10000,
    policies: Annotated[Path, typer.Option(help="Directory of the policy set.")] = Path("policies"),
    transport: Annotated[Transport | None, typer.Option(help="Transport of both services.")] = None,
) -> None:
    """Start everything on this machine: Envoy, both services, Valkey, a token issuer, a sample upstream."""
    if not policies.is_dir():
        typer.echo(f"tollhouse up: --policies {policies} is not a directory", err=True)
        raise typer.Exit(2)
    from tollhouse.up import run_up

    raise typer.Exit(run_up(once=once, port=port, policies=policies, transport=transport.value if transport else None))


@app.command("check")
def check_command(
    directory: Annotated[Path, typer.Argument(help="Directory of the policy set.")],
    output_format: Annotated[OutputFormat, typer.Option("--format", help="text or json.")] = OutputFormat.TEXT,
) -> None:
    """Check a policy set; every mistake in one run as file:line:column: CODE message. Exit code 1 on mistakes."""
    from tollhouse.check import run_check

    is_color = sys.stdout.isatty()
    raise typer.Exit(run_check(directory, output_format.value, is_color))


@app.command("schema")
def schema_command(
    directory: Annotated[Path, typer.Argument(help="Where the schema files go.")] = Path("schemas"),
) -> None:
    """Write a JSON Schema a policy file kind, for editors."""
    from tollhouse.schema import write_schemas

    try:
        written = write_schemas(directory)
    except OSError as error:
        typer.echo(f"tollhouse schema: {directory} cannot be written: {error.strerror}", err=True)
        raise typer.Exit(2) from error
    for path in written:
        typer.echo(str(path))


@app.command("dev-secrets")
def dev_secrets_command(
    directory: Annotated[Path, typer.Argument(help="Where the files go; made when missing, closed to others.")],
    force: Annotated[bool, typer.Option("--force", help="Replace what is there.")] = False,
    user: Annotated[int | None, typer.Option(help="Numeric user id that shall own the files (takes root).")] = None,
    group: Annotated[int | None, typer.Option(help="Numeric group id that may read the files too.")] = None,
) -> None:
    """Write a development CA, certificates for 30 days and a card key, for local runs alone."""
    from tollhouse.dev_secrets import Readers, SecretsRefused, write_dev_secrets

    try:
        written = write_dev_secrets(directory, Readers(user, group), is_forced=force, now=dt.datetime.now(dt.UTC))
    except SecretsRefused as error:
        typer.echo(f"tollhouse dev-secrets: {error}", err=True)
        raise typer.Exit(2) from error
    for path in written:
        typer.echo(str(path))


@app.command("token")
def token_command(
    merchant: Annotated[str, typer.Option(help="Sample merchant the token is for.")] = "m_active",
    scope: Annotated[str, typer.Option(help="Scopes, space separated.")] = "payments:write payments:read",
    issuer: Annotated[str, typer.Option(help="URL of the development issuer.")] = "http://127.0.0.1:18080",
) -> None:
    """Print a fresh access token of the development issuer that `tollhouse up` runs."""
    from tollhouse.token import TokenRefused, fetch_token

    try:
        typer.echo(fetch_token(issuer, merchant=merchant, scope=scope))
    except TokenRefused as error:
        typer.echo(f"tollhouse token: {error}", err=True)
        raise typer.Exit(1) from error


def main() -> None:
    """Entry point of the `tollhouse` command."""
    app()


if __name__ == "__main__":
    main()
