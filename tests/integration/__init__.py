"""Tests of the library in this process, over a real RabbitMQ."""
