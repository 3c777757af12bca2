"""The one table of cases that our default answers otherwise than envoyproxy/ratelimit, with the reason of each.

Under `compat: envoyproxy` there is none.
"""

from __future__ import annotations

_FREE = "a refused hit costs nothing, so a smaller one after it may still fit"
_LOOK = "a look at a counter with nothing left is over: to look and then to charge must not allow one more"
_DOMAIN = "an unknown domain is refused unless --unknown-domain allow"
_ERROR = "Envoy lets an error pass, so a request that names no limit is refused instead"

DEVIATIONS: dict[str, str] = {
    "V02": _ERROR,
    "V03": _ERROR,
    "V04": _DOMAIN,
    "V07": _DOMAIN,
    "W08": "a `*` in a key is refused when the file is loaded: it would match across key and value",
    "C08": _FREE,
    "C11": _LOOK,
    "C18": _FREE,
    "O02": _DOMAIN,
    "Q04": "all descriptors are checked first: one that passes is not charged for a request that another refuses",
    "Q07": "a descriptor without a limit has no say: it must not switch enforcement off",
    "Q10": _LOOK,
    "L02": _FREE,
    "L04": _FREE,
    "L06": "what is held in memory is the count: a limit that a reload has raised holds at once",
    "E01": _DOMAIN,
    "G01": "requests_per_unit left out is refused when the file is loaded",
}
