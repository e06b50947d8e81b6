"""The client of `peers.amphora`, in an environment with the extra `speed`."""

from peers.amphora.client import main
from peers.amphora_speed import SERVICE

if __name__ == "__main__":
    main("orjson", "msgspec", service=SERVICE)
