"""The links: connections to the broker, which carry bytes and know nothing of calls."""
