"""FastStream's `request` over its RabbitMQ broker."""
