"""`python -m demo [--once]`: a guided tour of Coldreel on this machine alone; it needs no cloud account."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path
from types import FrameType

from demo.stage import Stage, StageError
from demo.tour import Tour, TourError


def main() -> int:
    parser = argparse.ArgumentParser(prog="make demo ARGS=…", description=__doc__)
    parser.add_argument(
        "--once",
        action="store_true",
        help="end as soon as every recording is verified, instead of serving until Ctrl-C",
    )
    parser.add_argument("--megabytes", type=int, default=320, help="how much footage to make, in MB (default: 320)")
    arguments = parser.parse_args()
    home = Path(os.environ.get("COLDREEL_HOME", Path(__file__).resolve().parents[2] / "var")).resolve() / "demo"
    # Below a folder of its own, so that the demo can delete what its last run made.
    stage = Stage(home, port=_port())
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # a closed window must not leave processes running
        signal.signal(number, _interrupt)
    try:
        with stage:
            tour = Tour(stage, footage_bytes=arguments.megabytes * 10**6)
            tour.run()
            if not arguments.once:
                tour.say_where()
                stage.serve_until_interrupted()
    except (StageError, TourError) as error:
        print(f"\nThe demo stopped: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return 130
    return 0


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _port() -> int:
    text = os.environ.get("PORT", "8000")
    if not text.isdigit() or not 0 < int(text) < 65536:  # noqa: PLR2004 - TCP's port numbers
        print(f"PORT={text!r} is invalid: expected a number from 1 to 65535.", file=sys.stderr)
        raise SystemExit(2)
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
