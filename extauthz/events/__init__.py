"""Security events that token issuers send: each ends tokens before they expire."""
