"""One Celery application whose worker runs the echo as a task and serves it as a function."""
