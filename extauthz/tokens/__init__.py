"""Step 3, authenticate: from a presented access token to a verified caller.

`gate.TokenGate` is the entry; the modules below it each own one part: `presentation` (where the
token stands), `jose` (its text), `keys`, `discovery` and `key_sets` (the token issuer's keys),
`verify` (its signature), `claims` (its content) and `cache`. What a token is bound to is confirmed by
`constraint`, with `certificates`, `dpop`, `target`, `nonces`, `replay` and `store_replays`. For step 4: `scopes`,
`demands` (user, step-up, actor), `merchant_claims`, and `details` (consent to one payment).
"""
