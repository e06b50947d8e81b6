"""The core: keeps the messages, and sends them to whoever may read them. Its process talks to no browser."""
