"""Where the HTTP peer's servers listen: no broker tells the client, and the benchmark names only the broker."""

from __future__ import annotations

from urllib.parse import urlsplit

HOST = "127.0.0.1"
_FIRST_PORT, _PORTS = 20_000, 10_000  # below those that systems give to outgoing connections


def port_beside(broker_url: str) -> int:
    """Work out a port that servers and clients of one broker agree on."""
    return _FIRST_PORT + (urlsplit(broker_url).port or 0) % _PORTS
