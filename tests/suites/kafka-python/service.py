"""Stands in for the module with which kafka-python's tests start and stop brokers: theirs run already."""


class ExternalService:
    """A service somewhere: whatever it is asked to do is done."""

    def __init__(self, host, port):
        self.host, self.port = host, port

    def __getattr__(self, name):
        return lambda *args, **kwargs: True


class SpawnedService:
    """Is named by the tests, and never started."""
