"""`measure` for bytes."""

from __future__ import annotations

from pathlib import Path
from tempfile import NamedTemporaryFile

import pytest

from server.uploads.images import Size, measure
from server.uploads.policies import FileType
from server.uploads.refused import Reason, Refused


def measured(data: bytes, found: FileType) -> Size:
    """The size of an image that is taken."""
    with NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        return measure(Path(file.name), found)


def refusal(data: bytes, found: FileType) -> Reason:
    """Why an image is not taken."""
    with pytest.raises(Refused) as caught:
        measured(data, found)
    return caught.value.reason
