"""Results as Markdown tables. Pure functions: the same results give the same text."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.figures import APPLICATION, ENGINE, FLOOR, GIB, MIB, OBSTORE, RCLONE, Cut, Memory, Race
from benchmarks.targets import Target

NONE = "none"
RATIOS = "rclone · obstore · floor"
HEADER = (
    *("client", "at once", "wall s (from, to)", "MiB/s", "CPU s/GiB", "peak MiB"),
    *(f"wall ÷ {RATIOS}", f"CPU ÷ {RATIOS}", "connections", "spoke"),
)


def race_table(race: Race) -> str:
    rows = [
        f"## {race.title}, {race.line}",
        "",
        f"| {' | '.join(HEADER)} |",
        f"|{'---|' * len(HEADER)}",
    ]
    rows += [_row(race, name) for name in race.names()]
    return "\n".join([*rows, *_notes(race)]) + "\n"


def _row(race: Race, name: str) -> str:
    walls = [run.wall_seconds for run in race.counted(name)]
    wall, cpu = race.median(name, "wall_seconds") or 0.0, race.median(name, "cpu_seconds") or 0.0
    connections = race.median(name, "connections")
    cells = [
        name,
        str(race.at_once.get(name, NONE)),
        f"{wall:.2f} ({min(walls):.2f}, {max(walls):.2f})",
        f"{race.total_bytes / MIB / wall:.0f}" if wall else NONE,
        f"{cpu / (race.total_bytes / GIB):.2f}",
        f"{(race.median(name, 'peak_bytes') or 0) / MIB:.0f}",
        _ratios(race, name, "wall_seconds"),
        _ratios(race, name, "cpu_seconds"),
        f"{connections:.0f}" if connections is not None else NONE,
        race.spoke(name) or NONE,
    ]
    return "| " + " | ".join(cells) + " |"


def _ratios(race: Race, name: str, figure: str) -> str:
    others = (race.best_of(RCLONE, figure), race.best_of(OBSTORE, figure), FLOOR)
    return " · ".join(_number(race.ratio(name, other, figure)) for other in others)


def _number(value: float | None) -> str:
    return NONE if value is None else f"{value:.2f}"


def _notes(race: Race) -> list[str]:
    notes = []
    for peer in (RCLONE, OBSTORE):
        wall, cpu = race.best_of(peer, "wall_seconds"), race.best_of(peer, "cpu_seconds")
        if wall and cpu:
            notes.append(f"Best setting of {peer} here: `{wall}` in wall time, `{cpu}` in CPU.")
    notes += [_application_note(race, name) for name in race.names() if name.startswith(APPLICATION)]
    for name, runs in race.runs.items():
        problems = race.problems(name)
        if problems:
            notes.append(f"{name}: {len(problems)} of {len(runs)} runs did not count: {problems[0]}")
    notes += [f"{name}: not over this line: {why}" for name, why in race.absent.items()]
    return ["", *(f"- {note}" for note in notes)] if notes else []


def _application_note(race: Race, name: str) -> str:
    parts = [f"{name}: the request itself took {_number(race.extra(name, 'request_seconds'))} s, before the clock"]
    parts.append(f"the web process used {_number(race.extra(name, 'web_cpu_seconds'))} CPU s in all")
    if (commits := race.extra(name, "commits")) is not None:
        parts.append(f"{commits / race.files:.1f} database commits a file that wrote something")
    if (transactions := race.extra(name, "transactions")) is not None:
        parts.append(f"{transactions / race.files:.1f} transactions a file, reads included")
    return "; ".join(parts) + "."


def memory_table(found: Sequence[Memory]) -> str:
    rows = [f"## {ENGINE}: memory with many uploads at once", "", "| data | at once | greatest peak MiB |"]
    rows.append("|---|---|---|")
    for one in found:
        peak = f"{one.peak_bytes / MIB:.0f}" if one.peak_bytes else f"did not count: {one.runs[0].problem}"
        rows.append(f"| {one.title}, {one.line} | {one.at_once} | {peak} |")
    return "\n".join(rows) + "\n"


def cut_table(cuts: Sequence[Cut]) -> str:
    rows = [
        f"## The cut: 1 x {cuts[0].file_bytes // MIB} MiB, every connection reset once, in the middle",
        "",
        "| client | arrived MiB | sent twice MiB | of these kept by the bucket before, MiB | wall s | ended |",
        "|---|---|---|---|---|---|",
    ]
    for cut in cuts:
        ended = f"gave up: {cut.problem}" if cut.problem else "object right"
        twice = NONE if cut.problem else f"{cut.twice_bytes / MIB:.2f}"
        rows.append(
            f"| {cut.client} | {cut.arrived_bytes / MIB:.2f} | {twice} | {cut.again_bytes / MIB:.2f} "
            f"| {cut.wall_seconds:.2f} | {ended} |"
        )
    return "\n".join(rows) + "\n"


def target_table(found: Sequence[Target]) -> str:
    rows = ["## Targets", "", "| target | where | no more than | found | |", "|---|---|---|---|---|"]
    rows += [f"| {one.what} | {one.where} | {one.limit:g} | {_figure(one.found)} | {one.verdict} |" for one in found]
    return "\n".join(rows) + "\n"


def _figure(value: float | None) -> str:
    if value is None:
        return NONE
    return f"{value:.2f}" if value % 1 else f"{value:.0f}"
