"""The page of the chat of examples/django, in a browser's tab of its own."""

from selenium.webdriver import Chrome, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.support.select import Select

from tests.support.eventually import wait_until

PATIENCE = 60


class Page:
    """A tab with the chat, and what its user does there."""

    def __init__(self, chromium: Chrome, name: str) -> None:
        self.name = name
        self._chromium = chromium
        chromium.switch_to.new_window("tab")
        self._tab = chromium.current_window_handle

    def enter(self, url: str) -> None:
        """Get in, and wait until the page has polled: from then on it is there for the core."""
        self._switch()
        self._chromium.get(url)
        self._chromium.find_element(By.NAME, "name").send_keys(self.name, Keys.ENTER)
        wait_until(lambda: self._chromium.find_elements(By.ID, "state"), PATIENCE, "the chat's page")
        state = self._chromium.find_element(By.ID, "state")
        wait_until(lambda: "held the last poll" in state.text, PATIENCE, f"a poll of {self.name}")

    def say(self, text: str) -> None:
        """Say something to whoever is chosen."""
        self._switch()
        self._chromium.find_element(By.ID, "text").send_keys(text, Keys.ENTER)

    def choose(self, name: str) -> None:
        """Choose who shall read what is said next, once that user is among the others."""
        self._switch()
        recipient = Select(self._chromium.find_element(By.ID, "recipient"))
        wait_until(lambda: name in [option.text for option in recipient.options], PATIENCE, f"{name} is present")
        recipient.select_by_visible_text(name)

    def wait_for(self, text: str) -> None:
        """Wait until a text is among the messages."""
        self._switch()
        messages = self._chromium.find_element(By.ID, "messages")
        wait_until(lambda: text in messages.text, PATIENCE, f"{text!r} on the page of {self.name}")

    def texts(self, *wanted: str) -> list[str]:
        """Return what the messages say that have arrived, without who said it and when, of these texts."""
        self._switch()
        items = self._chromium.find_elements(By.CSS_SELECTOR, "#messages li:not(.pending)")
        texts = [item.text.partition("\n")[2] for item in items]
        return [text for text in texts if text in wanted]

    def _switch(self) -> None:
        self._chromium.switch_to.window(self._tab)
