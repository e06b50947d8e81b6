"""Bytes: the AMQP connection below Kombu, its channels, frames, sockets and TLS, and the memory broker."""
