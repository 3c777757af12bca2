"""HTTP message signatures (RFC 9421) with Content-Digest (RFC 9530): a request proven to come from its client.

Called by the pipeline where an operation demands it, once the token is good. `fields` reads, `base` rebuilds what was
signed, `digest` looks at the body, `signers` knows the keys, `check` puts them in order.
"""
