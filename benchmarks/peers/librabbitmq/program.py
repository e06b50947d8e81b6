"""Where the compiled `rpc.c` is."""

from __future__ import annotations

import sys
from pathlib import Path
from urllib.parse import urlsplit

#: `compare.py` compiles it into the peer's virtual environment.
PROGRAM = str(Path(sys.prefix) / "bin" / "rpc")


def host_and_port(broker_url: str) -> list[str]:
    parts = urlsplit(broker_url)
    return [str(parts.hostname), str(parts.port)]
