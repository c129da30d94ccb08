"""Pages in Chromium: what they ask for, what goes wrong, what their charts show.

`CHROMIUM` names the browser where it is not on the path; pictures are kept in the folder that `SHOTS` names.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Locator, Page, sync_playwright


@contextmanager
def chromium() -> Iterator[Browser]:
    """The browser."""
    path = os.environ.get("CHROMIUM") or shutil.which("chromium")
    assert path, "these tests need Chromium: install it, or name it in CHROMIUM"
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield opened
        opened.close()


@dataclass
class Seen:
    """A page that was opened."""

    page: Page
    requests: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def shot(self, name: str) -> None:
        if folder := os.environ.get("SHOTS"):
            self.page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)

    def data(self, chart: str) -> list[dict[str, Any]]:
        """The rows that a chart shows."""
        found: list[dict[str, Any]] = self.page.evaluate(
            f"cuveeViews['{chart}'].data('rows').map((row) => ({{...row}}))"
        )
        return found

    def labelled(self, chart: str, *words: str) -> Locator:
        """The mark of a chart whose label has these words."""
        made = self.page.locator(f"#chart-{chart} svg path[aria-label]")
        for word in words:
            made = made.and_(self.page.locator(f'[aria-label*="{word}"]'))
        return made


@contextmanager
def opening(browser: Browser, path: Path) -> Iterator[Callable[..., Seen]]:
    """What opens a page of the disk; all that it opened is closed in the end."""
    pages: list[Page] = []

    def make(width: int = 1280, scheme: str = "light", **more: Any) -> Seen:
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme, **more)
        pages.append(page)
        seen = Seen(page)
        page.on("request", lambda request: seen.requests.append(request.url))
        page.on("console", lambda said: seen.errors.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: seen.errors.append(str(error)))
        page.goto(path.as_uri())
        if more.get("java_script_enabled", True):
            page.wait_for_selector("html[data-drawn]", state="attached")
        return seen

    yield make
    for page in pages:
        page.close()
