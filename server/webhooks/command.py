"""`tailrace webhooks list|show|retry|replay|send`: operating webhooks on the database itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, get_args

import asyncpg
import click
from pydantic import ValidationError

from server.errors import StartError
from server.openapi.fields import MAX_ID
from server.webhooks.events import State
from server.webhooks.operating import sql
from server.webhooks.operating.console import SECONDS, Place, run, table, visible
from server.webhooks.operating.models import Chosen, DeliveryRow, DeliveryWhole, Replay, Settled
from server.webhooks.operating.sending import send

if TYPE_CHECKING:
    from server.db.pool import Connection

MAX_ERROR = 60
"""Characters of an error in the table."""
COLUMNS = ("ID", "RECEIVED", "SOURCE", "TYPE", "STATE", "TRIES", "KEY", "ERROR")

C = TypeVar("C", bound=Chosen)
F = TypeVar("F", bound=Callable[..., Any])


@click.group()
def webhooks() -> None:
    """Find, show, repeat and send webhooks."""


webhooks.add_command(send)


def filters(states: Sequence[str], about: str) -> Callable[[F], F]:
    """The options that choose deliveries."""
    options = (
        click.option("--source", help="Of this source."),
        click.option("--type", help="Of this type, or of a family as 'payment.*'."),
        click.option("--state", multiple=True, type=click.Choice(states), help=about),
        click.option("--key", help="Of this customer, subscription or repository."),
        click.option("--since", help="Received since: 30m, 12h, 7d, or an ISO 8601 time."),
        click.option("--until", help="Received before."),
        click.option("--text", "q", help="With this text in the payload, in any case."),
    )

    def add(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return add


@webhooks.command("list")
@filters(get_args(State), "In this state; may be given several times.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True)
@click.option("--after", type=click.IntRange(1, MAX_ID), help="Only those with a lower seq.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.pass_obj
def list_(
    place: Place,
    /,
    state: tuple[str, ...],
    limit: int,
    after: int | None,
    as_json: bool,
    **given: Any,
) -> None:
    """List deliveries, the newest first."""
    wanted = _checked(Chosen, given).filter(state)
    before = MAX_ID if after is None else after

    async def work(connection: Connection) -> list[asyncpg.Record]:
        return await sql.find(connection, wanted, after=before, limit=limit + 1, seconds=SECONDS)

    found = [_row(row) for row in run(place, work) if row["id"] is not None]
    shown = found[:limit]
    lines = (
        [row.model_dump_json() for row in shown]
        if as_json
        else table([COLUMNS, *(_cells(row) for row in shown)])
    )
    for line in lines:
        click.echo(line)
    if len(found) > limit:
        click.echo(f"there are older ones: --after {shown[-1].seq}", err=True)


@webhooks.command()
@click.argument("id_", metavar="ID")
@click.pass_obj
def show(place: Place, id_: str) -> None:
    """Show a delivery: its headers, its body, and its attempts."""
    row = run(place, lambda connection: sql.show(connection, id_))
    if row is None:
        raise _missing(id_)
    found = DeliveryWhole.of(row)
    plain = found.model_dump(mode="json", exclude={"headers", "body", "history"})
    for line in table(
        [(name, "-" if value is None else str(value)) for name, value in plain.items()]
    ):
        click.echo(line)
    click.echo("\nattempts:")
    for item in found.history:
        at = item.model_dump(mode="json")["at"]
        click.echo(f"  {at}  {item.state}  {item.ms:g} ms  {visible(item.error or '')}".rstrip())
    click.echo("\nheaders:")
    for name, value in found.headers.items():
        click.echo(f"  {visible(name)}: {visible(value)}")
    click.echo("\nbody:")
    click.echo("  (no longer kept)" if found.body is None else visible(found.body, lines=True))


@webhooks.command()
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@click.pass_obj
def retry(place: Place, ids: tuple[str, ...]) -> None:
    """Have deliveries handled again, at once, whatever came of them."""

    async def work(connection: Connection) -> list[str]:
        faults = []
        for id_ in dict.fromkeys(ids):
            try:
                if await sql.retry(connection, id_) is None:
                    raise _missing(id_)
                click.echo(f"{id_} is pending")
            except sql.GoneError:
                faults.append(f"{id_}: its body is no longer kept")
            except (sql.HeldError, sql.TooSlowError):
                faults.append(f"{id_}: a worker holds it; try again")
            except StartError as error:
                faults.append(str(error))
        return faults

    if faults := run(place, work):
        raise StartError("; ".join(faults))


@webhooks.command()
@filters(
    get_args(Settled), "In this state; may be given several times.  [default: dead, unmatched]"
)
@click.option("--limit", type=click.IntRange(1, 10_000), default=1000, show_default=True)
@click.option("--dry-run", is_flag=True, help="Only tell how many there are.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def replay(
    place: Place, /, state: tuple[str, ...], limit: int, dry_run: bool, yes: bool, **given: Any
) -> None:
    """Have many deliveries handled again, the oldest first: those that fit every filter."""
    asked = _checked(Replay, given | {"state": list(state) or None, "limit": limit})
    wanted = asked.filter(asked.state)

    def done(*, dry_run: bool) -> sql.Replayed:
        return run(
            place,
            lambda connection: sql.replay(
                connection, wanted, limit=limit, dry_run=dry_run, seconds=SECONDS
            ),
        )

    if dry_run or not yes:
        found = done(dry_run=True)
        there = f"{found.matched} match{', and there are more' if found.more else ''}"
        if dry_run or not found.matched:
            click.echo(there)
            return
        click.confirm(f"{there}. Handle {found.matched} again?", abort=True)
    result = done(dry_run=False)
    more = "; there are more: run it again" if result.more else ""
    click.echo(f"{result.replayed} of {result.matched} are pending{more}")


def _cells(row: DeliveryRow) -> tuple[str, ...]:
    error = row.error or ""
    short = error if len(error) <= MAX_ERROR else f"{error[:MAX_ERROR]}…"
    at = f"{row.received_at:%Y-%m-%d %H:%M:%SZ}"
    key, tries = row.key or "-", str(row.attempts)
    return (row.id, at, row.source, row.type, row.state, tries, key, short)


def _row(record: asyncpg.Record) -> DeliveryRow:
    values = dict(record)
    del values["position"]
    return DeliveryRow(**values)


def _checked(model: type[C], given: dict[str, Any]) -> C:
    """The options by the rules of the API.

    Raises:
        StartError: one of them is wrong.
    """
    try:
        return model.model_validate({k: v for k, v in given.items() if v is not None})
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        place = (
            f"--{'text' if fault['loc'][0] == 'q' else fault['loc'][0]}: " if fault["loc"] else ""
        )
        msg = place + fault["msg"].removeprefix("Value error, ")
        raise StartError(msg) from None


def _missing(id_: str) -> StartError:
    return StartError(f"there is no delivery {id_}")
