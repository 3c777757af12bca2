"""What stops `tollhouse up`."""

from __future__ import annotations


class UpFailed(Exception):  # noqa: N818 - the word a person reads
    """Something cannot be started or has ended; the text says what and what to do, for a person."""
