"""The four preconditions of the JSON API.

Source: https://cloud.google.com/storage/docs/request-preconditions
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from gcs_emulator.answers import Resource, invalid, not_modified, precondition_failed

PARAMETERS = frozenset(
    {"ifGenerationMatch", "ifGenerationNotMatch", "ifMetagenerationMatch", "ifMetagenerationNotMatch"}
)


@dataclass(frozen=True, slots=True)
class Preconditions:
    generation: int | None = None
    not_generation: int | None = None
    metageneration: int | None = None
    not_metageneration: int | None = None

    @classmethod
    def parse(cls, query: Mapping[str, str]) -> Preconditions:
        return cls(
            whole_number(query, "ifGenerationMatch"),
            whole_number(query, "ifGenerationNotMatch"),
            whole_number(query, "ifMetagenerationMatch"),
            whole_number(query, "ifMetagenerationNotMatch"),
        )

    @classmethod
    def of_record(cls, record: Mapping[str, int | None]) -> Preconditions:
        return cls(**record)

    def record(self) -> dict[str, int | None]:
        return asdict(self)

    def check(self, live: Resource | None, *, reading: bool = False) -> None:
        """Refuse with 412, or with 304 a read that asked for a changed object; generation 0 means that none exists."""
        generation = int(live["generation"]) if live else 0
        metageneration = int(live["metageneration"]) if live else 0
        if self.generation is not None and self.generation != generation:
            raise precondition_failed()
        if self.metageneration is not None and self.metageneration != metageneration:
            raise precondition_failed()
        if self.not_generation == generation or (live and self.not_metageneration == metageneration):
            raise not_modified() if reading else precondition_failed()


def whole_number(query: Mapping[str, str], name: str) -> int | None:
    """A query parameter as a number, None where it is missing. Refuses with 400 any other text."""
    text = query.get(name)
    if text is None:
        return None
    if not text.isascii() or not text.isdigit():
        raise invalid(f"Invalid value '{text}' for {name}. Value must be a non-negative whole number.")
    return int(text)
