"""The admin's pages in a browser: the project under gunicorn's gevent worker, its handlers in another process."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import port_for
import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from tests.support.broker import Broker
from tests.support.browser import start_browser
from tests.support.eventually import wait_until
from tests.support.processes import Program

PROJECTS = Path(__file__).parent / "projects"

NARROW = (390, 844)
WIDE = (1280, 1000)


@pytest.fixture(scope="module")
def site(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the workshop's admin, its handlers served by another process."""
    port = port_for.select_random()
    directory = tmp_path_factory.mktemp("workshop")
    env = {
        "DJANGO_SETTINGS_MODULE": "workshop_settings",
        "PYTHONPATH": os.pathsep.join(map(str, (Path.cwd(), PROJECTS / "workshop", PROJECTS / "shop"))),
        "SHOP_BROKER_URL": broker.url,
        "SHOP_DATABASE": str(directory / "db.sqlite3"),
        "SHOP_SUFFIX": f"_{uuid4().hex[:8]}",
        # Where gunicorn, from version 25 on, has a socket for its own command.
        "XDG_RUNTIME_DIR": str(directory),
    }
    gunicorn = ("-m", "gunicorn", "--worker-class", "gevent", "--bind", f"127.0.0.1:{port}", "workshop_wsgi")
    with Program(PROJECTS / "workshop" / "serve_workshop.py", env=env) as handlers, Program(*gunicorn, env=env) as web:
        handlers.wait_for_line("^default: ready", 60)
        web.wait_for_line("Booting worker", 60)
        yield f"http://127.0.0.1:{port}/admin/"


@pytest.fixture(scope="module")
def browser(site: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    """A browser that is logged in to the admin."""
    browser = start_browser(tmp_path_factory.mktemp("chromium"))
    try:
        browser.get(site)
        browser.find_element(By.NAME, "username").send_keys("keeper")
        browser.find_element(By.NAME, "password").send_keys("well kept")
        submit(browser, "#login-form")
        yield browser
    finally:
        browser.quit()


@pytest.fixture(autouse=True)
def _usual_window(browser: Chrome) -> None:
    show(browser)


def test_the_index_leads_to_a_service_with_its_queue_and_functions(browser, site):
    browser.get(site)

    browser.find_element(By.LINK_TEXT, "RPC services").click()
    # Five functions, no request that waits, one consumer.
    wait_until(lambda: " default 5 0 1 " in reloaded(browser, "#amphora-services tbody tr"), 30)

    browser.find_element(By.CSS_SELECTOR, "#amphora-services tbody tr a").click()
    assert "rpc_django_shop_" in text(browser, "#amphora-queues tbody th")
    functions = text(browser, ".amphora-functions")
    assert "tools.label(article, size='<b>large</b>')" in functions
    assert "Return the label of an article." in functions
    assert_nothing_was_injected(browser)


def test_a_call_shows_its_result(browser, site):
    open_function(browser, site, "tools.label")
    assert "Return the label of an article." in text(browser, "#amphora-call")

    fill_in(browser, args='["nut"]', kwargs='{"size": 3}')
    submit(browser, "#amphora-call")

    result = json.loads(text(browser, "#amphora-result"))
    assert (result["article"], result["size"]) == ("nut", 3)
    assert "<script>" in result["label"]
    assert_nothing_was_injected(browser)


def test_a_remote_error_is_shown_and_kept(browser, site):
    open_function(browser, site, "tools.take")

    fill_in(browser, args='["bolt", 12]')
    submit(browser, "#amphora-call")

    assert text(browser, "#amphora-error").startswith("LookupError: no bolt <img src=x onerror=")
    assert "in take" in text(browser, "#amphora-traceback")
    assert_nothing_was_injected(browser)

    def kept() -> bool:
        browser.get(f"{site}amphora/service/default/change/")
        return "no bolt <img" in text(browser, "#amphora-failed")

    wait_until(kept, timeout=30)
    assert "Called tools.take: it raised LookupError" in text(browser, "#amphora-calls")
    browser.find_element(By.CSS_SELECTOR, "#amphora-failed tbody a").click()
    page = text(browser, "#content")
    assert "raise LookupError" in page
    assert "12 wanted" in page
    assert_nothing_was_injected(browser)


def test_the_form_shows_the_documentation_of_the_function_that_is_typed_in(browser, site):
    open_function(browser, site, "tools.take")
    shown = ".amphora-about:not([hidden])"
    assert text(browser, shown).startswith("tools.take(article, count=1)")

    field = browser.find_element(By.NAME, "function")
    field.clear()
    field.send_keys("add")

    assert text(browser, shown) == "add(x, y)\nAdd two numbers."


@pytest.mark.expects_errors("LookupError")
def test_the_pages_fit_a_narrow_window_and_a_dark_theme(browser, site):
    pages = ("service/", "service/default/change/", "service/default/call/?function=tools.label", "failedcall/")
    for page in pages:
        show(browser, NARROW)
        browser.get(f"{site}amphora/{page}")
        width = browser.execute_script("return [document.documentElement.scrollWidth, window.innerWidth]")
        assert width[0] <= width[1], page

    show(browser, WIDE, dark=True)
    browser.get(f"{site}amphora/service/default/change/")
    assert brightness(browser, ".amphora-functions code strong") > 200
    assert brightness(browser, "#amphora-queues tbody th") > 200


def open_function(browser: Chrome, site: str, name: str) -> None:
    """Follow the link beside a function to the form for calling it."""
    browser.get(f"{site}amphora/service/default/change/")
    browser.find_element(By.CSS_SELECTOR, f'[aria-label="Call {name}"]').click()
    assert browser.find_element(By.NAME, "function").get_attribute("value") == name


def fill_in(browser: Chrome, **values: str) -> None:
    """Type values into the fields of those names."""
    for name, value in values.items():
        field = browser.find_element(By.NAME, name)
        field.clear()
        field.send_keys(value)


def submit(browser: Chrome, form: str) -> None:
    """Send a form, and wait until the page that answers is there."""
    button = browser.find_element(By.CSS_SELECTOR, f"{form} [type=submit]")
    before = browser.find_element(By.TAG_NAME, "html")
    button.click()
    WebDriverWait(browser, 60).until(lambda driver: driver.find_element(By.TAG_NAME, "html") != before)


def reloaded(browser: Chrome, selector: str) -> str:
    """Load the page again, and return the text that an element shows."""
    browser.refresh()
    return text(browser, selector)


def text(browser: Chrome, selector: str) -> str:
    """Return the text that an element shows."""
    return str(browser.find_element(By.CSS_SELECTOR, selector).text)


def show(browser: Chrome, size: tuple[int, int] = WIDE, *, dark: bool = False) -> None:
    """Give the window a size, and the system a theme."""
    width, height = size
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": size == NARROW}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    theme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [theme]})


def brightness(browser: Chrome, selector: str) -> float:
    """Return how bright an element's text is, from 0 to 255."""
    color = browser.find_element(By.CSS_SELECTOR, selector).value_of_css_property("color")
    red, green, blue = (float(part) for part in color.partition("(")[2].rstrip(")").split(",")[:3])
    return (red + green + blue) / 3


def assert_nothing_was_injected(browser: Chrome) -> None:
    """Check that no text of a function was taken for a script."""
    assert browser.execute_script("return window.injected") is None
