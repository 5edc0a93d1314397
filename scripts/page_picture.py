"""Photograph a page for the README: `python scripts/page_picture.py PAGE.html OUT.png`, in the system's Chromium."""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright


def main(page: str, out: str) -> None:
    """Show the text coloured by the first finding, with the panel of one character, and the first card."""
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        context = browser.new_context(viewport={"width": 1200, "height": 1040}, offline=True)
        tab = context.new_page()
        tab.goto(Path(page).absolute().as_uri())
        tab.wait_for_selector("html[data-ready]", timeout=120_000)
        tab.locator("#passage span").nth(160).hover()
        tab.evaluate("document.querySelector('#chips').scrollIntoView(); window.scrollBy(0, -70)")
        tab.wait_for_timeout(500)
        tab.screenshot(path=out)
        browser.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
