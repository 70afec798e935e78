"""What receiving a file can't do without, in plain Python: read, sha256, write, fsync.

    python -m scripts.benchmark.plainly <from> <to>

Tells, as JSON, the seconds, the CPU and the hash.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time

BLOCK = 1024 * 1024


def copy(source: str, target: str) -> str:
    """Copy a file safely; its hash."""
    digest, buffer = hashlib.sha256(), bytearray(BLOCK)
    view = memoryview(buffer)
    with open(source, "rb", buffering=0) as old, open(target, "wb", buffering=0) as new:  # noqa: PTH123 - the plainest
        while count := old.readinto(buffer):
            digest.update(view[:count])
            new.write(view[:count])
        os.fsync(new.fileno())
    return digest.hexdigest()


def main() -> None:
    """As the module says."""
    began, before = time.perf_counter(), time.process_time()
    found = copy(sys.argv[1], sys.argv[2])
    seconds, cpu = time.perf_counter() - began, time.process_time() - before
    print(json.dumps({"seconds": seconds, "cpu": cpu, "sha256": found}))


if __name__ == "__main__":
    main()
