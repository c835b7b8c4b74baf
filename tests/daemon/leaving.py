"""Threads that go on for a moment after a test: what they still close is no business of the next one."""

import threading


def ended(name: str) -> None:
    """Wait until no thread of this name is left."""
    for thread in threading.enumerate():
        if thread.name == name:
            thread.join(20)
