"""oslo.messaging's RPC over its rabbit driver, with threads."""
