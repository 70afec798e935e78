"""What a provider is: one record, which the doors, the command line and the tests go by."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from server.webhooks.providers.envelope import Envelope
from server.webhooks.providers.handlers import Handler
from server.webhooks.providers.samples.example import Example
from server.webhooks.signing.signatures import Scheme, Signed

Headers = Mapping[str, str]
"""Lower-case names, each once (`server.webhooks.signing.signatures.plain`)."""


@dataclass(frozen=True)
class Provider:
    """One sender of webhooks."""

    name: str
    path: str
    setting: str | None
    """The settings' field with its secret or secrets (`split_secrets`); `None`: kept in a table."""
    scheme: Scheme
    read: Callable[[bytes, Headers, Signed], Envelope]
    """What is stored of a verified body. Raises BodyError when it is not JSON."""
    types: tuple[str, ...]
    """Types that `sample` makes; for sources of an admin's own any type will do."""
    sample: Callable[[str, Example], bytes]
    """A realistic body; raises ValueError for a type that it doesn't know."""
    headers: Callable[[str], dict[str, str]] = lambda _: {}
    """Headers beside the signature that an event of this type comes with."""
    handlers: Mapping[str, Handler] = field(default_factory=dict)
    """What is done with an event, by its type or by `family.*`; any other is kept, and no more."""

    def handler(self, type_: str) -> Handler | None:
        """The handler of a type: its own, else that of the longest family it belongs to."""
        found = self.handlers.get(type_)
        family = type_
        while found is None and "." in family:
            family = family.rpartition(".")[0]
            found = self.handlers.get(f"{family}.*")
        return found
