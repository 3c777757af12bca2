"""Keeps Python's garbage collector from walking a policy snapshot again and again while requests wait.

Called once a snapshot has become the active one. Its law: what is settled here must be freed by its reference
counts alone, so a compiled snapshot holds no reference cycles (tests/unit/policy/test_snapshot_is_freed.py).
"""

from __future__ import annotations

import gc
from typing import Final

# A request leaves no cycles behind, so there is next to nothing to find: with Python's own 700, 10, 10 a busy
# service walked its heap every few hundred requests. Measured on a check at 64 in flight: 11 to 19 us of CPU a
# request, and the 99th percentile of latency falls from 54 to 11 ms.
_YOUNG: Final = 100_000
_MIDDLE: Final = 50
_OLD: Final = 100


def settle() -> None:
    """Collect what is garbage now, and set aside everything that lives, for all collections to come.

    What was set aside before is not walked again, so a reload costs no more than what it made.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, _MIDDLE, _OLD)
