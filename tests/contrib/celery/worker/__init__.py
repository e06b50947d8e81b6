"""Real workers of Celery, each a process of its own, over RabbitMQ."""
