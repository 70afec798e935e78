"""What is judged: what was sent and answered, and what the database holds in the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

Kind = Literal[
    # of what is stored
    "lost",  # a delivery was acknowledged and is not there
    "twice",  # a message is there more than once
    "ids",  # a message was acknowledged under several ids, or under another's
    "bytes",  # what is stored is not what was sent
    "phantom",  # nobody sent it
    "refused",  # a lawful delivery was told that it is wrong
    # of what came of it
    "unfinished",  # never acknowledged, or never handled
    "state",  # handled to a state that it should not have
    "order",  # handled before an earlier one of its key that had arrived
    "apart",  # an effect was not committed with its delivery's state
    "credits", "payment", "subscription",
    "notice",  # an effect was told to the user not once
    "told",  # a state was not told once on ops.webhooks
    # of the processes
    "server",
]  # fmt: skip


class Violation(NamedTuple):
    kind: Kind
    who: str
    what: str

    def __str__(self) -> str:
        return f"{self.kind:12} {self.who}: {self.what}"


class Paid(NamedTuple):
    """A payment; several messages may tell of one. `payment`: None for one without an id."""

    user: str
    payment: str | None
    credits: int


class Back(NamedTuple):
    """A refund or dispute as it stands at `at`, in seconds; `takes`: credits, while it is held."""

    payment: str
    id: str
    at: int
    held: bool
    takes: int


class Kept(NamedTuple):
    """A subscription as it stands at `at`, in seconds."""

    subscription: str
    user: str
    status: str
    at: int


Form = Literal["dodo", "dodo text", "stripe", "github"]


class Message(NamedTuple):
    """One event at a provider; however often it is delivered, it is one."""

    form: Form
    id: str
    type: str
    key: str
    body: bytes
    tells: Paid | Back | Kept | None
    matched: bool = True
    """Whether its user is one of ours."""

    @property
    def source(self) -> str:
        return self.form.partition(" ")[0]

    @property
    def name(self) -> tuple[str, str]:
        """What is unique of it."""
        return self.source, self.id


@dataclass(slots=True)
class Attempt:
    """One request. `status`: None while there is no answer, and for ever if none came."""

    name: tuple[str, str]
    server: str
    began: float
    ended: float | None = None
    status: int | None = None
    id: str | None = None


@dataclass(slots=True)
class Ledger:
    """All that the senders did; times are the machine's clock, in Unix seconds."""

    messages: dict[tuple[str, str], Message] = field(default_factory=dict)
    attempts: list[Attempt] = field(default_factory=list)
    open: dict[str, int] = field(default_factory=dict)
    """Requests without an answer yet, by server."""

    def begin(self, message: Message, server: str, at: float) -> Attempt:
        """A request is about to be sent."""
        self.messages[message.name] = message
        self.attempts.append(Attempt(message.name, server, at))
        self.open[server] = self.open.get(server, 0) + 1
        return self.attempts[-1]

    def end(self, attempt: Attempt, at: float, status: int | None, id_: str | None = None) -> None:
        """It was answered, or given up."""
        attempt.ended, attempt.status, attempt.id = at, status, id_
        self.open[attempt.server] -= 1


class Row(NamedTuple):
    """A row of `webhook_deliveries`."""

    id: str
    seq: int
    source: str
    message_id: str
    type: str
    key: str | None
    state: str
    body: bytes
    received: float


class Handled(NamedTuple):
    """A delivery left `pending`: noted by a trigger in the transaction that did it.

    `began`, `at`: when that transaction began, and when it did this.
    """

    id: str
    state: str
    began: float
    at: float
    xid: str
    process: str


class Effect(NamedTuple):
    """A row that a delivery's handler wrote, noted by a trigger in the transaction that did it."""

    delivery: str
    table: str
    xid: str


class Payment(NamedTuple):
    source: str
    id: str
    user: str
    credits: int
    taken: int


class Subscription(NamedTuple):
    source: str
    id: str
    status: str
    at: int
    delivery: str


class Notice(NamedTuple):
    """A row of `notifications`."""

    user: str
    title: str
    body: str


@dataclass(frozen=True, slots=True)
class Books:
    """What the database holds. `told`: events on ops.webhooks by (delivery, type)."""

    rows: Sequence[Row]
    handled: Sequence[Handled] = ()
    effects: Sequence[Effect] = ()
    credits: Mapping[str, int] = field(default_factory=dict)
    payments: Sequence[Payment] = ()
    subscriptions: Sequence[Subscription] = ()
    notices: Sequence[Notice] = ()
    told: Counter[tuple[str, str]] = field(default_factory=Counter)
