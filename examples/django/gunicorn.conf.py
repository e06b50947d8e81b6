"""How gunicorn runs a web process of the chat."""

# Patches for gevent, in each worker.
worker_class = "gevent"
wsgi_app = "chat.wsgi"
# A poll that is held does not keep gunicorn from ending; the browser asks again.
graceful_timeout = 2
# Two of them on one machine would share its path.
control_socket_disable = True
