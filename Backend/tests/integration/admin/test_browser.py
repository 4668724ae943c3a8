"""The pages in a real browser: an operator's way through them, and nothing asked of any other machine."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from apps.cctv.models import GCPVideoTransfer, Recording
from apps.users.models import Role
from offload.states import State
from tests.integration.admin import pages, scene
from tests.integration.db import rows

CHROMIUM = "/usr/bin/chromium"
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
SIZES = {"desk": (1400, 900), "phone": (390, 844)}

pytestmark = [
    pytest.mark.browser,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(
        shutil.which(CHROMIUM) is None, reason=f"{CHROMIUM} is not installed (apt-get install chromium)"
    ),
]


@dataclass
class Operator:
    """A browser's page, and everything that went wrong or outside while it was used."""

    page: Any
    url: str
    complaints: list[str] = field(default_factory=list)
    hosts: set[str | None] = field(default_factory=set)

    def watch(self) -> None:
        self.page.on("console", lambda line: line.type in {"error", "warning"} and self.complaints.append(line.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.hosts.add(urlsplit(request.url).hostname))
        self.page.on("response", lambda answer: answer.status >= 400 and self.complaints.append(f"{answer.status} {answer.url}"))  # fmt: skip

    def open(self, address: str) -> None:
        self.page.goto(self.url + address)

    def sign_in(self) -> None:
        self.open(pages.FRONT)
        self.page.fill("#id_username", "grace")
        self.page.fill("#id_password", rows.PASSWORD)
        self.page.click("button[type=submit]")
        self.page.wait_for_selector("#dashboard")

    def text(self) -> str:
        return str(self.page.inner_text("body"))

    @property
    def overflows(self) -> int:
        """How far the page is wider than its window."""
        return int(self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with pytest.MonkeyPatch.context() as patch, sync_playwright() as driver:
        # The driver runs an event loop in this thread; Django would refuse the tests' own queries beside it.
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        running = driver.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield running
        running.close()


@pytest.fixture
def operator(
    request: pytest.FixtureRequest, browser: Any, live_server: Any, media_root: Path, bucket: str
) -> Iterator[Operator]:
    """Signed in at a desk, unless the test says otherwise."""
    scene.transfers(18, by=scene.person(Role.ADMIN, "grace"))
    scene.machinery()
    scene.alarm()
    width, height = SIZES[getattr(request, "param", "desk")]
    context = browser.new_context(viewport={"width": width, "height": height})
    found = Operator(context.new_page(), live_server.url)
    found.watch()
    found.sign_in()
    yield found
    context.close()
    assert found.complaints == []
    assert found.hosts == {urlsplit(live_server.url).hostname}
    assert found.hosts <= {"localhost", "127.0.0.1"}


desk_and_phone = pytest.mark.parametrize("operator", SIZES, indirect=True)


@desk_and_phone
def test_an_operator_sees_retries_and_holds(operator: Operator) -> None:
    page = operator.page
    assert page.locator('[data-status="failed"] b').inner_text() == "3"
    operator.open(pages.list_of(GCPVideoTransfer))
    assert page.locator("input.action-select").count() == 18
    assert page.locator("[role=progressbar]").count() == 18

    failed = GCPVideoTransfer.objects.filter(transfer_status=State.FAILED)[0]
    operator.open(pages.page_of(failed))
    assert "file_missing" in operator.text()
    page.click('nav.cr-actions a[href$="/do/retry/"]')
    page.click("button[name=confirmed]")
    page.wait_for_selector("text=begins again within seconds")
    failed.refresh_from_db()
    assert failed.transfer_status == State.PENDING

    page.click('nav.cr-actions a[href$="/do/hold/"]')
    page.fill("#reason", "Case 4711, asked by the police")
    page.click("button[name=confirmed]")
    page.wait_for_selector("text=The recording is held")
    assert Recording.objects.get(pk=failed.recording_id).hold_reason == "Case 4711, asked by the police"


def test_an_operator_acts_on_ticked_rows(operator: Operator) -> None:
    page = operator.page
    operator.open(pages.list_of(GCPVideoTransfer) + "?transfer_status__exact=failed")
    for box in page.locator("input.action-select").all():
        box.check()
    page.select_option("select[name=action]", "retry")
    page.locator("#changelist-actions-wrapper button[type=submit]").click()
    page.wait_for_selector("text=3 recordings")
    page.click("button[name=confirmed]")
    page.wait_for_selector("text=begins again within seconds")
    assert not GCPVideoTransfer.objects.filter(transfer_status=State.FAILED).exists()


@desk_and_phone
def test_no_page_is_wider_than_its_window(operator: Operator) -> None:
    some = [pages.page_of(row) for row in GCPVideoTransfer.objects.all()[:6]]
    lists = [pages.list_of(model) for model in pages.models() if model.__name__ != "User"]
    for address in [pages.FRONT, *lists, *some, pages.action_of(GCPVideoTransfer.objects.all()[0], "hold")]:
        operator.open(address)
        assert operator.overflows <= 0, address


def test_the_front_page_follows_the_database_by_itself(operator: Operator) -> None:
    page = operator.page
    page.clock.install()
    operator.open(pages.FRONT)
    GCPVideoTransfer.objects.filter(transfer_status=State.FAILED).update(
        transfer_status=State.PENDING, next_attempt_at=rows.NOW
    )
    page.clock.fast_forward(16_000)
    page.wait_for_function("""document.querySelector('[data-status="failed"] b').innerText === '0'""")


def test_front_page_of_a_signed_out_user_asks_for_login(operator: Operator) -> None:
    page = operator.page
    page.clock.install()
    operator.open(pages.FRONT)
    page.context.clear_cookies()
    page.clock.fast_forward(16_000)
    page.wait_for_selector("#id_username")


def test_no_page_asks_for_what_the_policy_forbids(operator: Operator) -> None:
    """The browser tells each violation on its console, which `operator` watches. No form sends multipart either."""
    page = operator.page
    row = GCPVideoTransfer.objects.all()[0]
    lists = [pages.list_of(model) for model in pages.models() if model.__name__ != "User"]
    forms = [pages.page_of(row), pages.page_of(row.recording.camera), pages.action_of(row, "hold")]
    for address in [pages.FRONT, *lists, *forms, pages.FRONT + "password_change/"]:
        operator.open(address)
        page.wait_for_load_state("networkidle")
        assert page.locator('form[enctype="multipart/form-data"]').count() == 0, address
    operator.open("/api/v0/docs")
    page.wait_for_selector(".opblock")


def test_inline_script_outside_the_admin_is_not_run(operator: Operator) -> None:
    page = operator.page
    operator.open("/api/v0/docs")
    page.evaluate(
        "document.body.appendChild(Object.assign(document.createElement('script'), {text: 'window.struck = 1'}))"
    )
    assert page.evaluate("window.struck") is None
    assert any("Content Security Policy" in line for line in operator.complaints)
    operator.complaints.clear()
