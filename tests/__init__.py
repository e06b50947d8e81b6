"""The test suite: `unit` (no broker), `integration` (a real RabbitMQ), `acceptance` (whole programs)."""
