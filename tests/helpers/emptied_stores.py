"""An operator's word about a store that was emptied."""

from __future__ import annotations

from chassis.store_url import connection_factory
from chassis.store_watch import accept_empty


async def accept_emptied(url: str) -> dict[str, str]:
    """Accept the store at `url` as it is; return the record of it."""
    connection = connection_factory(url, 5.0)()
    await connection.connect()
    try:
        return await accept_empty(connection, "b", "night shift", "the old machine burnt")
    finally:
        await connection.disconnect()
