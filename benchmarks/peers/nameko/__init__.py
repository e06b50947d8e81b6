"""nameko: a service under eventlet, and the standalone proxy."""
