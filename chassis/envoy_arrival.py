"""Has the hosting Envoy write down when it saw a call, so that what the call waited after that is known.

Part of `envoy_bootstrap`; `asgi_grpc` reads it. Its law: the header is Envoy's own, whatever a caller sends.
Proto: envoy/extensions/http/early_header_mutation/header_mutation/v3/header_mutation.proto.
"""

from __future__ import annotations

from typing import Final

from envoy_data_plane.envoy.config.common.mutation_rules.v3 import HeaderMutation as Mutation
from envoy_data_plane.envoy.config.core.v3 import (
    HeaderValue,
    HeaderValueOption,
    HeaderValueOptionHeaderAppendAction,
    TypedExtensionConfig,
)
from envoy_data_plane.envoy.extensions.http.early_header_mutation.header_mutation.v3 import HeaderMutation
from envoy_data_plane.google.protobuf import Any

from chassis.asgi_grpc import ARRIVAL_HEADER

_SECONDS_AND_MILLISECONDS: Final = "%START_TIME(%s.%3f)%"


def arrival_stamp() -> TypedExtensionConfig:
    """Return the extension that stamps each request, before any filter."""
    header = HeaderValue(key=ARRIVAL_HEADER.decode(), value=_SECONDS_AND_MILLISECONDS)
    overwrite = HeaderValueOption(
        header=header, append_action=HeaderValueOptionHeaderAppendAction.OVERWRITE_IF_EXISTS_OR_ADD
    )
    return TypedExtensionConfig(
        name="envoy.http.early_header_mutation.header_mutation",
        typed_config=Any.pack(HeaderMutation(mutations=[Mutation(append=overwrite)])),
    )
