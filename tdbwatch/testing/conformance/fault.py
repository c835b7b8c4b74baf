"""A fault, said in one sentence: what the sink does, and the remedy."""

from typing import NoReturn


class ConformanceError(AssertionError):
    """What a sink does wrong.

    Attributes:
        fault: what it does.
        remedy: what its author should do.
    """

    def __init__(self, fault: str, remedy: str) -> None:
        super().__init__(fault, remedy)
        self.fault = fault
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.fault}; {self.remedy}"


def fault(what: str, remedy: str, because: BaseException | None = None) -> NoReturn:
    """Raise it; `because` is shown with its traceback, which leads into the author's code."""
    __tracebackhide__ = True
    raise ConformanceError(what, remedy) from because


def named(error: BaseException) -> str:
    """An exception in a word or two."""
    text = str(error).partition("\n")[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
