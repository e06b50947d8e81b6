"""How gunicorn runs a web process of the chat."""

import signal

# Patches for gevent, in each worker.
worker_class = "gevent"
wsgi_app = "chat.wsgi"
# A poll that is held does not keep gunicorn from ending; the browser asks again.
graceful_timeout = 5
# Two of them on one machine would share its path.
control_socket_disable = True


def post_worker_init(worker):
    """Let gunicorn alone end its worker: Ctrl+C at a terminal would end it a second time, in the middle of that."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
