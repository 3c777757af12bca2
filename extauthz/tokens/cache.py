"""Claims whose signature was verified, remembered by the hash of the token.

Never a verdict: a hit still has its times, audience, binding and scopes checked. An entry belongs
to one compiled provider and one generation of that issuer's keys; when either differs, it is as if
it were not there.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from extauthz.tokens.claims import VerifiedToken
from extauthz.tokens.failures import FailedAuthentications
from extauthz.tokens.providers import CompiledProvider

DEFAULT_MAX_BYTES = 64 * 1024 * 1024
DEFAULT_MAX_PER_CLIENT = 1000
_ENTRY_BYTES = 2048
_BYTES_PER_CHARACTER = 8
"""Python values of parsed claims take several times the room of their text; measured below this for claims of
many short members."""

_Client = tuple[str, str]


@dataclass(slots=True)
class CachedClaims:
    """One verified token.

    Attributes:
        token: What was verified.
        provider: Whose rules it was verified under.
        generation: Of the keys it was verified with.
        size: Estimated bytes.
    """

    token: VerifiedToken
    provider: CompiledProvider
    generation: int
    size: int

    def belongs_to(self, provider: CompiledProvider, generation: int | None) -> bool:
        """Tell whether these claims hold under `provider` and the keys of `generation`."""
        return generation == self.generation and (provider is self.provider or provider == self.provider)


@dataclass(slots=True)
class ClaimsCache:
    """Bounded in bytes, and for each OAuth client in entries, so that no client can push out the others.

    Attributes:
        max_bytes: Estimated bytes of all entries together.
        max_per_client: Entries of one OAuth client of one issuer.
        size: Estimated bytes now.
        failures: What is remembered of tokens that were refused, by address.
    """

    max_bytes: int = DEFAULT_MAX_BYTES
    max_per_client: int = DEFAULT_MAX_PER_CLIENT
    size: int = 0
    failures: FailedAuthentications = field(default_factory=FailedAuthentications)
    _entries: OrderedDict[bytes, CachedClaims] = field(default_factory=OrderedDict)
    _clients: dict[_Client, dict[bytes, None]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, digest: bytes) -> CachedClaims | None:
        """Return the entry for a token's SHA-256, and keep it for longer."""
        entry = self._entries.get(digest)
        if entry is not None:
            self._entries.move_to_end(digest)
        return entry

    def put(
        self, digest: bytes, token: VerifiedToken, *, provider: CompiledProvider, generation: int, characters: int
    ) -> None:
        """Remember a token of `characters` length; what is too old or too much goes."""
        self.discard(digest)
        entry = CachedClaims(token, provider, generation, _ENTRY_BYTES + _BYTES_PER_CHARACTER * characters)
        self._entries[digest] = entry
        self.size += entry.size
        own = self._clients.setdefault(_client(entry), {})
        own[digest] = None
        if len(own) > self.max_per_client:
            self.discard(next(iter(own)))
        while self.size > self.max_bytes:
            self.discard(next(iter(self._entries)))

    def discard(self, digest: bytes) -> None:
        """Forget a token; unknown ones are fine."""
        entry = self._entries.pop(digest, None)
        if entry is None:
            return
        self.size -= entry.size
        client = _client(entry)
        own = self._clients[client]
        del own[digest]
        if not own:
            del self._clients[client]


def _client(entry: CachedClaims) -> _Client:
    principal = entry.token.principal
    return (principal.token_issuer, principal.client_id)
