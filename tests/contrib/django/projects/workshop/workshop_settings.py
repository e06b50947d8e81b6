"""Settings of a sample project whose functions, results and errors look like HTML: those of the shop, and an app."""

from shop.settings import *  # noqa: F403
from shop.settings import AMPHORA, INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "tools"]
AMPHORA["default"].update(RECORD_ERRORS=3, SEND_TRACEBACKS=True)
