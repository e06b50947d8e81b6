"""The server of `peers.amphora`, in an environment with the extra `speed`."""

import sys

from peers.amphora.server import main
from peers.amphora_speed import SERVICE

if __name__ == "__main__":
    main(sys.argv[1], SERVICE)
