"""routes.yaml: which requests are operations, and what each one demands."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from policy.schema.base import Boolean, ClaimPointer, FileModel, Identifier, Scope

Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
HostName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9.\-\[\]:]{1,253}$")]
PathTemplate = Annotated[str, StringConstraints(pattern=r"^/[A-Za-z0-9_.~{}/\-]*$", max_length=500)]


class MerchantBinding(FileModel):
    """Where the token names its merchant; the body's merchant.id must be the same one."""

    claim: ClaimPointer


class Operation(FileModel):
    """One operation of the API."""

    operation: Identifier
    method: Method
    path: PathTemplate = Field(description="Segments in braces match one segment: /v1/payments/{id}.")
    hosts: tuple[HostName, ...] = Field((), max_length=100, description="Instead of the file's hosts.")
    scopes: tuple[Scope, ...] = Field(min_length=1, description="All of them are required.")
    merchant: MerchantBinding
    moves_money: Boolean = Field(description="Needs an amount, a currency and a quota that covers it.")
    profile: Identifier | None = Field(None, description="Body profile; needed when money moves.")
    forward_token: Boolean = Field(False, description="Leave `authorization` on for the upstream.")


class RoutesFile(FileModel):
    """All operations; any other request is refused with route_unknown."""

    hosts: tuple[HostName, ...] = Field(min_length=1, max_length=100, description="Without port: any port.")
    operations: tuple[Operation, ...] = Field(min_length=1, max_length=1000)
