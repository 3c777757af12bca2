"""Decision ids: 32 hex digits, and none comes twice, whatever block it was drawn in."""

from __future__ import annotations

import re

from chassis.ids import RandomIds


def test_ids_are_hex_digits_and_never_repeat_across_blocks():
    source = RandomIds()
    ids = [source.decision_id() for _ in range(2000)]
    assert all(re.fullmatch(r"[0-9a-f]{32}", each) for each in ids)
    assert len(set(ids)) == len(ids)
