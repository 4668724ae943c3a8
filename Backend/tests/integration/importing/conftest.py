from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from apps.cctv.services.importing.path_template import PathTemplate
from apps.cctv.services.importing.report import ImportReport
from apps.cctv.services.importing.run import ImportRequest, recordings_import
from offload.clock import SystemClock
from offload.source import MediaRoot

TEMPLATE = "{camera}/{date}/{time}.mp4"

Import = Callable[..., ImportReport]


class Outcome(NamedTuple):
    status: int
    out: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def run_import(media_root: Path, db: None) -> Import:
    """The service, over the whole media root, with the usual template, creating missing cameras."""

    def run(**fields: Any) -> ImportReport:
        template = fields.pop("template", TEMPLATE)
        clock = fields.pop("clock", SystemClock())
        on_file = fields.pop("on_file", lambda _: None)
        request = ImportRequest(
            **{
                "template": PathTemplate(template) if template else None,
                "create_cameras": True,
                "settle_seconds": 10,
                **fields,
            }
        )
        return recordings_import(request=request, root=MediaRoot(media_root), clock=clock, on_file=on_file)

    return run


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """A command as the shell sees it: exit status and standard output (or the error's text)."""

    def run(*args: Any) -> Outcome:
        try:
            call_command(*(str(arg) for arg in args))
        except CommandError as error:
            return Outcome(error.returncode, str(error))
        except SystemExit as error:
            return Outcome(int(error.code or 0), capsys.readouterr().out)
        return Outcome(0, capsys.readouterr().out)

    return run
