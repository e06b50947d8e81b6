"""A headless Chromium that tests drive: Debian's, with its chromedriver."""

import os
import shutil
from pathlib import Path

from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

from tests.support.die_with_parent import lead_session_and_die_with_parent

HOW_TO_INSTALL = "run `sh scripts/install-chromium`, or `make test`, which does"

_ARGUMENTS = (
    "--headless=new",
    "--disable-gpu",
    # No traffic of its own, and no shared memory of a size that containers do not have.
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    # Chromium ends when its driver's end of the pipe is closed: also when the driver is killed.
    "--remote-debugging-pipe",
)


def start_browser(profile: Path) -> Chrome:
    """Start a browser, which ends with `quit()`, or with this process.

    Args:
        profile: An empty directory for it.

    Raises:
        RuntimeError: Chromium or chromedriver is not installed.
    """
    driver = shutil.which("chromedriver")
    names = ("chromium", "chromium-browser", "google-chrome")
    chromium = next((path for path in map(shutil.which, names) if path is not None), None)
    if driver is None or chromium is None:
        raise RuntimeError(f"chromium and chromedriver are not both installed: {HOW_TO_INSTALL}")
    options = ChromeOptions()
    options.binary_location = chromium
    for argument in (*_ARGUMENTS, f"--user-data-dir={profile}"):
        options.add_argument(argument)
    if os.getuid() == 0:
        # Chromium's sandbox wants a user who is not root.
        options.add_argument("--no-sandbox")
    # With the driver's path selenium looks for none, and downloads none.
    service = Service(driver, popen_kw={"preexec_fn": lead_session_and_die_with_parent})
    browser = Chrome(options=options, service=service)
    browser.set_page_load_timeout(60)
    return browser
