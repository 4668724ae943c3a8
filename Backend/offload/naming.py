"""Object names: ``recordings/<camera>/<recording>/<file name>``.

What Cloud Storage forbids, or what its tools stumble over, is percent-escaped:
https://cloud.google.com/storage/docs/objects#naming. The recording's id makes a name unique, so the
escaping need not be reversible.
"""

from __future__ import annotations

import unicodedata
from urllib.parse import quote

from offload.errors import FileProblem, Reason

NAME_LIMIT_BYTES = 1024

_ESCAPED_CATEGORIES = frozenset({"Cc", "Cn", "Zl", "Zp"})
"""Control characters, unassigned ones (with the non-characters that XML forbids), line and paragraph separators."""


def object_name(*, camera_id: str, recording_id: str, file_name: str, name_version: int = 0) -> str:
    """The name of a recording's object, at most 1024 bytes of UTF-8.

    `name_version` above 0 names a further object of the same recording: an orphan lies under the earlier name.
    Raises FileProblem NAME_NOT_UTF8.
    """
    # The version stands before the file name, not behind: its ending says how to play it, and may be cut off otherwise.
    prefix = f"recordings/{_escaped(camera_id)}/{_escaped(recording_id)}/{f'{name_version}-' if name_version else ''}"
    try:
        file_name.encode()
    except UnicodeEncodeError as error:
        raise FileProblem(f"{file_name!r} is not UTF-8", code=Reason.NAME_NOT_UTF8) from error
    # Where it is too long, its stem is cut at the end, and its ending stays.
    limit_bytes = NAME_LIMIT_BYTES - len(prefix.encode())
    escaped = _escaped(file_name)
    stem, dot, ending = escaped.rpartition(".")
    if len(escaped.encode()) <= limit_bytes or len(ending.encode()) >= limit_bytes:
        return prefix + _cut(escaped, limit_bytes)
    return prefix + _cut(stem, limit_bytes - len((dot + ending).encode())) + dot + ending


def public_url(bucket: str, name: str) -> str:
    """The object's address. It grants nothing: the bucket stays private."""
    return f"https://storage.googleapis.com/{quote(bucket, safe='')}/{quote(name, safe='/~')}"


def _escaped(text: str) -> str:
    if text in {".", ".."}:
        return "%2E" * len(text)
    if text.isascii() and text.isprintable() and "/" not in text:
        return text  # nearly every name, and a hundred thousand of them may be asked for at once
    return "".join(
        quote(character, safe="")
        if character == "/" or unicodedata.category(character) in _ESCAPED_CATEGORIES
        else character
        for character in text
    )


def _cut(text: str, limit_bytes: int) -> str:
    return text.encode()[:limit_bytes].decode(errors="ignore")
