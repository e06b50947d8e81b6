"""aio-pika's RPC pattern, with JSON."""
