"""The ext_authz service: parse, select, authenticate, authorize, assess, render."""
