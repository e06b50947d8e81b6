"""Becomes the server in C."""

from __future__ import annotations

import os
import sys

from peers.librabbitmq.program import PROGRAM, host_and_port


def main(broker_url: str) -> None:
    os.execv(PROGRAM, [PROGRAM, "server", *host_and_port(broker_url)])


if __name__ == "__main__":
    main(sys.argv[1])
