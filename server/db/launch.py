"""The step between the server and a Postgres program: drop root, tie its life to ours, exec.

Run as a program of its own, with the standard library only and never imported:
- the restart of a dead Postgres happens in a server with threads, where Python code between fork
  and exec is unsafe;
- the interpreter may lie where the account of Postgres cannot reach (a 0700 home), so everything
  Python needs is loaded before root is dropped.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from typing import Any

PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None, use_errno=True)


def drop(uid: int, gid: int) -> None:
    """Become the account for good, without root's supplementary groups."""
    os.setgroups([])
    os.setresgid(gid, gid, gid) if hasattr(os, "setresgid") else os.setgid(gid)
    os.setresuid(uid, uid, uid) if hasattr(os, "setresuid") else os.setuid(uid)


def die_with(parent: int, number: int) -> None:
    """Ask the kernel for signal `number` when the thread that spawned us ends.

    Only after setuid, which clears the request. A parent that died before it was made is seen by
    the changed parent id.
    """
    if LIBC.prctl(PR_SET_PDEATHSIG, number, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:
        sys.exit(1)


def watchdog(pipe: int, number: int) -> None:
    """Where the kernel has no PDEATHSIG: a bystander that waits for the server's end of a pipe.

    The end of the file means that the server is gone, a byte that Postgres ended first (its pid
    may be someone else's by then). Forked twice, so that Postgres does not find a child it never
    made; in a session of its own, so that no terminal stops it.
    """
    target = os.getpid()
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        os.close(pipe)
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
    if not os.read(pipe, 1):
        os.kill(target, number)
    os._exit(0)


def unreachable(wanted: list[tuple[str, str]]) -> list[str]:
    """Those of (mode, path) that this account cannot read, write or enter as the mode says."""
    modes = {"r": os.R_OK, "w": os.W_OK, "x": os.X_OK}
    return [
        path
        for mode, path in wanted
        if not os.access(path, sum(modes[letter] for letter in set(mode)))
    ]


def main() -> None:
    order: dict[str, Any] = json.loads(sys.argv[1])
    if order["uid"] is not None:
        drop(order["uid"], order["gid"])
    if "access" in order:
        sys.stdout.write(json.dumps(unreachable(order["access"])))
        return
    # A terminal's Ctrl-C goes to its whole process group: Postgres must end last, by our word.
    os.setsid()
    if order["pipe"] is not None:
        watchdog(order["pipe"], order["signal"])
    else:
        die_with(order["parent"], order["signal"])
    # Python ignores SIGPIPE, and exec hands ignored signals on.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.execv(order["argv"][0], order["argv"])  # noqa: S606 - a shell is what it must not be


if __name__ == "__main__":
    main()
