"""What gunicorn is to do at its events."""


def post_worker_init(_worker: object) -> None:
    """The worker listens: tell the benchmark."""
    print("ready", flush=True)
