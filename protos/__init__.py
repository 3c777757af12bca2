"""Protocol messages: the wire subset of Envoy's API, payment attributes, decision record."""
