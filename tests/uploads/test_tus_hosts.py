from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from server.uploads.store import is_key
from server.uploads.tus.hosts import HOST, ROUTED, host_of, new_id


def test_all_who_ask_at_once_have_one_name(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        (name,) = set(threads.map(lambda _: host_of(tmp_path), range(50)))
    assert [path.name for path in tmp_path.iterdir()] == [HOST]
    id_ = new_id(name)
    assert id_.startswith(name[:ROUTED])
    assert is_key(id_)


@pytest.mark.parametrize("left", [b"", b"0" * 31, b"\0" * 32, b"\xff" * 32])
def test_a_name_that_was_lost_with_the_power_is_made_anew(tmp_path: Path, left: bytes) -> None:
    (tmp_path / HOST).write_bytes(left)
    name = host_of(tmp_path)
    assert is_key(new_id(name))
    assert host_of(tmp_path) == name
