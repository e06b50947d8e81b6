"""The same calls written by hand on py-amqp under gevent: the measure of what Amphora adds or saves."""
