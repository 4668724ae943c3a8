"""A throwaway PostgreSQL cluster of Debian's server package: a folder, a socket in it, gone at the end."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import psycopg

INSTALLED_BELOW = Path("/usr/lib/postgresql")
START_SECONDS = 60
NOT_DURABLE = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")


class ServerMissing(Exception):
    """No PostgreSQL server is installed where Debian puts it."""


def server_programs() -> Path:
    """The folder of the newest server's programs. Raises ServerMissing."""
    found = sorted(INSTALLED_BELOW.glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    if not found:
        raise ServerMissing("no PostgreSQL server is installed (apt-get install postgresql)")
    return found[-1].parent


def _run_as() -> dict[str, Any]:
    """initdb refuses root: then the account that Debian's package made runs the cluster, or nobody."""
    if os.geteuid() != 0:
        return {}
    names = {entry.pw_name: entry for entry in pwd.getpwall()}
    account = names.get("postgres") or names["nobody"]
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


class ThrowawayPostgres:
    """`with ThrowawayPostgres() as cluster: cluster.url`. With `durable` a commit is on the disk, as by default."""

    def __init__(self, *, durable: bool = False) -> None:
        self._options = () if durable else NOT_DURABLE
        self._programs = server_programs()
        self._account = _run_as()
        self.folder = Path(tempfile.mkdtemp(prefix="coldreel-pg-"))
        self.url = f"postgres://coldreel@{quote(str(self.folder), safe='')}/postgres"
        self._server: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _start(self) -> None:
        if self._account:
            os.chown(self.folder, self._account["user"], self._account["group"])
        data = self.folder / "data"
        subprocess.run(
            [self._programs / "initdb", "-D", data, "-U", "coldreel", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"],
            check=True, stdout=subprocess.DEVNULL, cwd=self.folder, **self._account,
        )  # fmt: skip
        options = [f"unix_socket_directories={self.folder}", "listen_addresses=", *self._options]
        with (self.folder / "log").open("wb") as log:
            self._server = subprocess.Popen(
                [self._programs / "postgres", "-D", data, *(word for option in options for word in ("-c", option))],
                stdout=log, stderr=log, cwd=self.folder, start_new_session=True, **self._account,
            )  # fmt: skip
        self._wait_until_it_answers(self._server)

    def _wait_until_it_answers(self, server: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                psycopg.connect(self.url).close()
            except psycopg.OperationalError:
                if server.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError((self.folder / "log").read_text()) from None
                time.sleep(0.1)
            else:
                return

    def _stop(self) -> None:
        if self._server is not None and self._server.poll() is None:
            self._server.send_signal(signal.SIGINT)  # PostgreSQL's fast shutdown
            with suppress(subprocess.TimeoutExpired):
                self._server.wait(timeout=20)
            if self._server.poll() is None:
                self._server.send_signal(signal.SIGQUIT)
                self._server.wait(timeout=20)
        shutil.rmtree(self.folder, ignore_errors=True)
