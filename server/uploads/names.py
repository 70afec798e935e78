"""A client's file name, made safe to show and to put into a header. Never part of a path. Pure."""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import quote

from server.uploads.policies import EXTENSIONS, FileType, Kind

MAX_NAME = 200
"""Characters of a name with its extension."""
_MAX_READ = 4 * MAX_NAME

# Windows writes no file of these names, whatever the extension, and none with these characters.
_RESERVED = re.compile(r"(con|prn|aux|nul|(com|lpt)[0-9¹²³])[ ]*(\..*)?", re.IGNORECASE | re.DOTALL)
_FORBIDDEN = re.compile(r'[<>:"|?*]')
_ATTR_CHARS = "!#$&+-.^_`|~"
_DEFAULTS = {Kind.IMAGE: "image", Kind.TEXT: "text"}


def safe_name(given: str | None, found: FileType) -> str:
    """The name to keep for a file of the type `found`: never empty, at most `MAX_NAME` characters.

    Without path, control and formatting characters (so none that turns the direction of writing),
    in NFC, with an extension of its type: another type's is replaced, anything else is kept before
    it (`run.exe` of a text is `run.exe.txt`). Given its own result it changes nothing.
    """
    # What counts is at the end, and text is cut before work that grows with it.
    last = re.split(r"[/\\]", (given or "")[-_MAX_READ:])[-1]
    shown = "".join(" " if char.isspace() else char for char in last if _is_shown(char))
    name = unicodedata.normalize("NFC", _FORBIDDEN.sub("_", shown))
    stem, extension = _split(_trim(re.sub(" +", " ", name)), found)
    if _RESERVED.fullmatch(stem):
        stem = f"_{stem}"
    stem = _trim(stem[: MAX_NAME - 1 - len(extension)])
    return f"{stem or _DEFAULTS.get(found.kind, 'file')}.{extension}"


def content_disposition(name: str, *, inline: bool = False) -> str:
    """The header of a `safe_name` (RFC 6266): ASCII for all, UTF-8 beside it (RFC 8187)."""
    kind = "inline" if inline else "attachment"
    # A percent sign in the plain form is decoded by some browsers.
    plain = re.sub(r"""[^\x20-\x7e]|["\\%/:<>*?|]""", "_", _without_accents(name))
    value = f'{kind}; filename="{plain}"'
    if plain == name:
        return value
    encoded = quote(name, safe=_ATTR_CHARS, errors="replace")
    return f"{value}; filename*=UTF-8''{encoded}"


def _is_shown(char: str) -> bool:
    """Not a control, a formatting mark, a surrogate, or a character that nobody has assigned."""
    return char.isspace() or unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Cn", "Co")


def _split(name: str, found: FileType) -> tuple[str, str]:
    stem, dot, extension = name.rpartition(".")
    extension = extension.lower()
    if not dot:
        return name, found.extensions[0]
    if extension in found.extensions:
        return _trim(stem), extension
    if extension in EXTENSIONS:
        return _trim(stem), found.extensions[0]
    return name, found.extensions[0]


def _trim(text: str) -> str:
    """Without dots and spaces at the ends: hidden on Unix, dropped on Windows."""
    return text.strip(". ")


def _without_accents(name: str) -> str:
    """`é` as `e`; what has no such form stays."""
    return "".join(
        char for char in unicodedata.normalize("NFKD", name) if not unicodedata.combining(char)
    )
