"""Asking a token issuer whether a token is still good (RFC 7662, RFC 9701)."""
