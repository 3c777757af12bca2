"""What the policy of both services shares: reader, schema, diagnostics, CEL, money, merchants."""
