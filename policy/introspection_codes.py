"""What a policy set can get wrong about asking token issuers."""

from __future__ import annotations

from typing import Final

from policy.code_spec import CodeSpec

INTROSPECTION: Final = {
    "P098": CodeSpec(
        "asking token issuers about tokens would not do what it says",
        "two issuers with `opaque_tokens` and nothing to tell them apart; `introspect` where no issuer can be asked",
        "`token_prefix` at each; `introspection` at the providers whose tokens the operation takes",
        "A token would be shown to an issuer that is not its own, or a payment would pass that nobody asked about.",
    ),
    "P099": CodeSpec(
        "an issuer is asked and there are no credentials for it",
        "`introspection` at a provider, and extauthz started without `--client-credentials-dir`",
        "`--client-credentials-dir DIR` with a file named after the provider: shop.secret, or shop.key and shop.crt",
        "The issuer answers only whom it knows; without that every opaque token would be answered with 503.",
    ),
}
"""By code."""
