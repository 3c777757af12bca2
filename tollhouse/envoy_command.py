"""`tollhouse envoy`: what of an Envoy configuration is made of the policy set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

envoy_app = typer.Typer(no_args_is_help=True, add_completion=False)


@envoy_app.callback()
def envoy() -> None:
    """Keep an Envoy configuration in step with the policy set."""


@envoy_app.command("metadata")
def metadata_command(
    policies: Annotated[Path, typer.Argument(help="Directory of the policy set.")],
    configuration: Annotated[Path, typer.Argument(help="A file with the marking lines of envoy/tollhouse.yaml.")],
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit code 1 if the file is out of date.")
    ] = False,
) -> None:
    """Write what /.well-known/oauth-protected-resource answers (RFC 9728) into an Envoy configuration."""
    from policy.diagnostics import PolicyInvalid
    from policy.loader import load_policy_set
    from tollhouse.resource_metadata import PlaceMissing, with_metadata

    try:
        text = configuration.read_text("utf-8")
        wanted = with_metadata(text, load_policy_set(policies))
        if not check and wanted != text:
            configuration.write_text(wanted, "utf-8")
    except PolicyInvalid as error:
        typer.echo(f"tollhouse envoy metadata: {policies} is not valid; see tollhouse check {policies}", err=True)
        raise typer.Exit(1) from error
    except PlaceMissing as error:
        typer.echo(f"tollhouse envoy metadata: {configuration}: {error}", err=True)
        raise typer.Exit(2) from error
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        typer.echo(f"tollhouse envoy metadata: {configuration}: {reason}", err=True)
        raise typer.Exit(2) from error
    if check and wanted != text:
        typer.echo(f"{configuration} does not say what {policies} says; run tollhouse envoy metadata", err=True)
        raise typer.Exit(1)


@envoy_app.command("check")
def check_command(
    configuration: Annotated[Path, typer.Argument(help="The Envoy configuration, YAML or JSON.")],
    policies: Annotated[Path, typer.Option("--policies", help="Directory of the policy set it goes with.")],
) -> None:
    """Refuse an Envoy configuration whose word cannot be taken: for tokens (verified_by), for cookies, for outcomes."""
    from policy.diagnostics import PolicyInvalid
    from policy.envoy_file import EnvoyFileRefused, read_envoy_file
    from policy.loader import load_policy_set
    from tollhouse.envoy_check import check_cookies, check_envoy
    from tollhouse.envoy_outcomes import check_outcomes, waits_for_outcomes

    try:
        policy = load_policy_set(policies)
        providers, document = policy.providers.providers, read_envoy_file(configuration)
        findings = check_envoy(document, providers)
        if any(operation.cookies == "refuse" for operation in policy.routes.operations):
            findings += check_cookies(document)
        if waits_for_outcomes(policy.quotas):
            findings += check_outcomes(document)
    except PolicyInvalid as error:
        typer.echo(f"tollhouse envoy check: {policies} is not valid; see tollhouse check {policies}", err=True)
        raise typer.Exit(1) from error
    except EnvoyFileRefused as error:
        typer.echo(f"tollhouse envoy check: {configuration}: {error}", err=True)
        raise typer.Exit(2) from error
    for finding in findings:
        typer.echo(f"{configuration}: {finding}")
    if findings:
        raise typer.Exit(1)
    vouched = sum(provider.verified_by == "envoy_jwt_authn" for provider in providers)
    typer.echo(f"{configuration}: ok; of {len(providers)} token issuers, Envoy verifies the tokens of {vouched}")
