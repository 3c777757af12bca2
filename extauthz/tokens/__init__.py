"""Step 3, authenticate: from a presented access token to a verified caller.

`gate.TokenGate` is the entry; the modules below it each own one part: `presentation` (where the
token stands), `jose` (its text), `keys`, `discovery` and `key_sets` (the token issuer's keys),
`verify` (its signature), `claims` (its content) and `cache`. For step 4: `scopes`, `demands` (user, step-up, actor),
`merchant_claims`, and `details` (consent to one payment).
"""
