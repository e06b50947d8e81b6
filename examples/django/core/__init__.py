"""The core: keeps the messages, and sends them to those who may read them. Its process talks to no browser."""
