"""The server with one transaction for each delivery: what its group commit is measured beside.

    python -m scripts.benchmark.singly pool|queue serve …

`pool`: as many at once as the pool has connections, as most handlers do it. `queue`: one after
the other. Everything else is the server's own, the statement too.
"""

from __future__ import annotations

import sys

from server.__main__ import main
from server.webhooks.intake.deliveries import Delivery, Stored
from server.webhooks.intake.intake import Intake


async def submit(self: Intake, item: Delivery) -> Stored:
    """Instead of `Intake.submit`: nobody shares a commit."""
    [stored] = await self.write([item])
    self.committed()
    return stored


if __name__ == "__main__":
    how = sys.argv.pop(1)
    if how == "pool":
        Intake.submit = submit  # type: ignore[assignment,method-assign]
    elif how == "queue":
        Intake.batch_rows = 1
    else:
        sys.exit(f"{how} is neither pool nor queue")
    main()
