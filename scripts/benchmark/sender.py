"""Sends one file by a form and `sendfile`, from a process of its own that costs little.

    python -m scripts.benchmark.sender <port> <key> <policy> <type> <file> <how many at once>

Tells, as JSON, the seconds from the first connect to the last whole answer, and its own CPU.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from pathlib import Path

BOUNDARY = "tailrace-bench-0123456789abcdef"
PATIENCE = 300.0


def send(port: int, key: str, policy: str, kind: str, path: Path) -> dict[str, object]:
    """One upload: the file as the server has it.

    Raises:
        RuntimeError: it was not taken.
    """
    head = (
        f"--{BOUNDARY}\r\n"
        f'Content-Disposition: form-data; name="file"; filename="{path.name}"\r\n'
        f"Content-Type: {kind}\r\n\r\n"
    ).encode()
    tail = f"\r\n--{BOUNDARY}--\r\n".encode()
    length = len(head) + path.stat().st_size + len(tail)
    request = (
        f"POST /api/upload?policy={policy} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n"
        f"Authorization: Bearer {key}\r\nContent-Length: {length}\r\n"
        f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n"
    ).encode()
    answer = b""
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as client, path.open("rb") as file:
        client.sendall(request + head)
        client.sendfile(file)
        client.sendall(tail)
        while data := client.recv(65536):
            answer += data
    first, _, body = answer.partition(b"\r\n\r\n")
    if not first.startswith(b"HTTP/1.1 200 "):
        msg = f"an upload was not taken: {answer[-500:]!r}"
        raise RuntimeError(msg)
    found: dict[str, object] = json.loads(body)
    return found


def main() -> None:
    """As the module says."""
    port, key, policy, kind, path, count = sys.argv[1:]
    answers: list[dict[str, object]] = []

    def one() -> None:
        answers.append(send(int(port), key, policy, kind, Path(path)))

    threads = [threading.Thread(target=one) for _ in range(int(count))]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - began
    told = {"seconds": seconds, "cpu": time.process_time(), "answers": answers}
    print(json.dumps(told))


if __name__ == "__main__":
    main()
