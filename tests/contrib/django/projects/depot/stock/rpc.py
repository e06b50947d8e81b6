"""Remote functions; imported, it says what process it is in."""

import json
import os
import sys
import time
from pathlib import Path
from types import FunctionType

import psycopg
from gevent import monkey

from amphora.contrib.django import server

if "DEPOT_BROKEN" in os.environ:
    raise LookupError("broken on purpose")

process = {
    "patched": monkey.is_module_patched("threading"),
    "psycopg waits in Python": isinstance(psycopg.waiting.wait, FunctionType),
    "arguments": sys.argv[1:],
    "developing": sys.flags.dev_mode,
    "warnings": sys.warnoptions,
}
print("process:", json.dumps(process), flush=True)

VALUE = 1


@server.add_function
def value():
    """Return what the code says."""
    return VALUE


@server.add_function("hold.until")
def hold_until(path: str) -> str:
    """Wait until a file is there."""
    print("holding", flush=True)
    while not Path(path).exists():
        time.sleep(0.02)
    return "done"
