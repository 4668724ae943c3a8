"""`python -m benchmarks.scale.measured FILE`: one database, filled and asked, in a process of its own.

Django is set up once a process, with the database of DATABASE_URL. The answers go into FILE as JSON.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import django

django.setup()  # before the models below are imported

from django.core.management import call_command  # noqa: E402
from django.db import connection  # noqa: E402

from benchmarks.scale.figures import Answer, Measured  # noqa: E402
from benchmarks.scale.questions import Question, questions  # noqa: E402
from benchmarks.scale.rows import fill  # noqa: E402

WARM_UP, ENOUGH_SECONDS, MOST_TURNS, FEWEST_TURNS = 2, 1.5, 40, 8


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale.measured", description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--recordings", type=int, required=True)
    parser.add_argument("--only", default="")
    options = parser.parse_args(arguments)
    call_command("migrate", verbosity=0)
    began = time.monotonic()
    filled = fill(options.recordings)
    found = Measured(options.recordings, time.monotonic() - began)
    _say(f"{connection.vendor}: {options.recordings:,} recordings in {found.fill_seconds:.0f} s")
    found.bytes_a_recording = {name: size / options.recordings for name, size in sizes().items()}
    for question in questions(filled):
        if options.only.lower() in question.name.lower():
            found.answers.append(_asked(question))
            options.file.write_text(json.dumps(asdict(found)))
    options.file.write_text(json.dumps(asdict(found)))
    return 0


def _asked(question: Question) -> Answer:
    for _ in range(WARM_UP):
        question.ask()
    statements: list[str] = []

    def noting(execute: Any, sql: str, *others: Any) -> Any:
        statements.append(sql)
        return execute(sql, *others)

    with connection.execute_wrapper(noting):
        question.ask()
    took: list[float] = []
    began = time.monotonic()
    while len(took) < MOST_TURNS and (len(took) < FEWEST_TURNS or time.monotonic() - began < ENOUGH_SECONDS):
        start = time.perf_counter()
        question.ask()
        took.append((time.perf_counter() - start) * 1000)
    p95 = sorted(took)[math.ceil(0.95 * len(took)) - 1]
    reads = [sql for sql in statements if not sql.startswith("SET ")]
    answer = Answer(question.name, question.target_ms, statistics.median(took), p95, len(reads))
    _say(f"  {answer.p50_ms:9.1f} {answer.p95_ms:9.1f} ms {answer.queries:3} {answer.name}")
    return answer


def sizes() -> dict[str, int]:
    """Bytes of each table and index that has any, the largest first."""
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("SELECT name, sum(pgsize) FROM dbstat GROUP BY name ORDER BY 2 DESC")
        else:
            cursor.execute(
                "SELECT relname, pg_relation_size(oid) + CASE WHEN reltoastrelid = 0 THEN 0 "
                "ELSE pg_relation_size(reltoastrelid) END FROM pg_class WHERE relnamespace = 'public'::regnamespace "
                "AND relkind IN ('r', 'i') ORDER BY 2 DESC"
            )
        return {name: int(size) for name, size in cursor.fetchall() if size}


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
