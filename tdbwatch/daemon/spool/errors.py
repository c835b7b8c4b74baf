"""What a spool raises."""


class SpoolError(Exception):
    """The spool cannot be used; the text says why and what to do."""
