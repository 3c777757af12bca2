"""The command line. Operators script it: names and options stay as they are."""

from __future__ import annotations

import datetime as dt
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from policy.descriptors.reader import DescriptorOptions
from tollhouse.card_key_command import card_key_app
from tollhouse.envoy_command import envoy_app
from tollhouse.import_command import import_app
from tollhouse.quota_command import quota_app
from tollhouse.revoke_command import revoke_command
from tollhouse.serve import Compat, Transport
from tollhouse.serve_command import serve_command
from tollhouse.store_command import store_app

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


app.command("serve")(serve_command)
app.command("revoke")(revoke_command)
app.add_typer(envoy_app, name="envoy", help="Keep an Envoy configuration in step with the policy set.")
app.add_typer(import_app, name="import", help="Settings of other services, as ours.")
app.add_typer(card_key_app, name="card-key", help="Make and rotate the keys that card numbers are hashed with.")
app.add_typer(quota_app, name="quota", help="How the quotas of a merchant stand; begin one anew, write a raise down.")
app.add_typer(store_app, name="store", help="Look at the store of counters, and accept one that was emptied.")


@app.command("up")
def up_command(
    once: Annotated[bool, typer.Option("--once", help="Send the sample payments, print a table, stop.")] = False,
    port: Annotated[int, typer.Option(help="Port of the Envoy listener.", min=1024, max=65535)] = 10000,
    policies: Annotated[Path, typer.Option(help="Directory of the policy set.")] = Path("policies"),
    transport: Annotated[Transport | None, typer.Option(help="Transport of both services.")] = None,
    tls: Annotated[bool, typer.Option("--tls", help="Mutual TLS between Envoy and the services.")] = False,
) -> None:
    """Start everything on this machine: Envoy, both services, Valkey, a token issuer, a sample upstream."""
    if not policies.is_dir():
        typer.echo(f"tollhouse up: --policies {policies} is not a directory", err=True)
        raise typer.Exit(2)
    from tollhouse.up.run import run_up

    wanted = transport.value if transport else None
    raise typer.Exit(run_up(once=once, port=port, policies=policies, transport=wanted, is_tls=tls))


@app.command("check")
def check_command(
    directory: Annotated[Path, typer.Argument(help="Directory of the policy set.")],
    output_format: Annotated[OutputFormat, typer.Option("--format", help="text or json.")] = OutputFormat.TEXT,
    descriptors: Annotated[
        bool,
        typer.Option("--descriptors", help="envoyproxy/ratelimit files alone; mostly seen by itself."),
    ] = False,
    compat: Annotated[Compat | None, typer.Option(help="Read descriptor files as serve --compat does.")] = None,
    merge_domains: Annotated[bool, typer.Option("--merge-domains", help="As serve --merge-domains does.")] = False,
) -> None:
    """Check a policy set; every mistake in one run as file:line:column: CODE message. Exit code 1 on mistakes."""
    from extauthz.signatures.signers import signer_problems
    from tollhouse.check import is_descriptor_directory, run_check, run_check_descriptors

    is_color = sys.stdout.isatty()
    if descriptors or compat or merge_domains or is_descriptor_directory(directory):
        options = DescriptorOptions(compat is Compat.ENVOYPROXY, merge_domains)
        raise typer.Exit(run_check_descriptors(directory, output_format.value, is_color, options))
    raise typer.Exit(run_check(directory, output_format.value, is_color, (signer_problems,)))


@app.command("test")
def policy_test_command(
    directory: Annotated[Path, typer.Argument(help="Directory of the policy set.")],
    junit: Annotated[Path | None, typer.Option(help="Write the results to this file as JUnit XML too.")] = None,
) -> None:
    """Run the tests of a policy set: NAME_test.yaml files, quota tests so far. Exit code 1 when one fails."""
    from tollhouse.quota_test_report import run_policy_tests

    raise typer.Exit(run_policy_tests(directory, junit))


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
