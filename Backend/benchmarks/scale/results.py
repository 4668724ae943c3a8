"""The figures as tables, with the targets, and as a document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from benchmarks.scale.figures import Answer, Measured

DOCUMENT = Path(__file__).parents[2] / "docs" / "SCALE.md"
MOST_RATIO = 1.5
TOO_SHORT_TO_COMPARE_MS = 10.0
"""A ratio of two shorter times is noise: there the target alone counts."""

HOW_TO_READ = """\
Made by `make scale ARGS=--write` (about half an hour; `ARGS="--sizes 10000 100000"` takes minutes, `ARGS=--help` lists
all options). Databases are made in a temporary folder and removed.

- Each question is asked through the code that answers it in production (HTTP requests by Django's test client, with
  routing, permissions and JSON), one at a time, in a warm process: the figures are the server's time without network
  and without other load. *p50* and *p95* are of up to forty answers, *q* the statements of one answer.
- *ratio* is p50 of the largest database to p50 of the smallest. Targets: p95 under 50 ms for a list, 100 ms for sums
  and the admin's front page, 150 ms for a search and an admin page, 400 ms for a page of a thousand rows; a ratio of at
  most 1.5, where an answer takes more than 10 ms. What misses one is **bold**.
- The rows: two sites, seventeen cameras (one private), ten-minute clips all day. Most are cleaned up, with receipt and
  whole history; 1,000 wait for upload, 1,000 for cleanup, up to 1,000 have failed. `Backend/benchmarks/scale/rows.py`.
"""


def tables(found: Mapping[str, Sequence[Measured]]) -> list[str]:
    """`found`: by the name of the database, its measurements from the smallest size to the largest."""
    parts = []
    for database, measured in found.items():
        parts += [f"## {database}\n", _table(measured), _sizes(measured)]
    return parts


def document(found: Mapping[str, Sequence[Measured]], *, machine: Mapping[str, str], now: datetime) -> str:
    head = [f"Measured on {now:%Y-%m-%d, %H:%M} UTC.", "", *(f"- {name}: {value}" for name, value in machine.items())]
    return "\n".join(["# Reading at a million rows\n", HOW_TO_READ, *head, "", *tables(found)])


def misses(found: Mapping[str, Sequence[Measured]]) -> int:
    """Answers of the largest databases that miss a target."""
    return sum(
        _is_slow(large) or _grows(small, large)
        for measured in found.values()
        for small, large in _pairs(measured[0], measured[-1])
    )


def _pairs(small: Measured, large: Measured) -> list[tuple[Answer, Answer]]:
    by_name = {answer.name: answer for answer in small.answers}
    return [(by_name[answer.name], answer) for answer in large.answers if answer.name in by_name]


def _is_slow(answer: Answer) -> bool:
    return answer.p95_ms > answer.target_ms


def _grows(small: Answer, large: Answer) -> bool:
    return large.p50_ms > TOO_SHORT_TO_COMPARE_MS and large.p50_ms > MOST_RATIO * small.p50_ms


def _table(measured: Sequence[Measured]) -> str:
    sizes = [f"{one.recordings:,}" for one in measured]
    columns = [f"{size}: {what}" for size in sizes for what in ("p50 ms", "p95 ms", "q")]
    lines = [f"| question | {' | '.join(columns)} | ratio |", "|---|" + "---:|" * (len(columns) + 1)]
    small, large = measured[0], measured[-1]
    for first, last in _pairs(small, large):
        rows = [next((a for a in one.answers if a.name == last.name), last) for one in measured]
        cells = []
        for answer in rows:
            p95 = f"{answer.p95_ms:.0f}"
            cells += [f"{answer.p50_ms:.1f}", f"**{p95}**" if _is_slow(answer) else p95, str(answer.queries)]
        ratio = f"{last.p50_ms / first.p50_ms:.1f}"
        cells.append(f"**{ratio}**" if _grows(first, last) else ratio)
        lines.append(f"| {last.name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _sizes(measured: Sequence[Measured]) -> str:
    large = measured[-1]
    total = sum(large.bytes_a_recording.values())
    lines = [
        f"Bytes a recording at {large.recordings:,}, its transfer, receipt and history included: **{total:,.0f}**\n",
        "| table or index | bytes a recording |",
        "|---|---:|",
    ]
    lines += [f"| `{name}` | {size:,.0f} |" for name, size in large.bytes_a_recording.items() if size >= 0.5]
    return "\n".join(lines) + "\n"
