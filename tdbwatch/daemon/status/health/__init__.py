"""What is wrong, in words, and whether it counts. Pure: a snapshot in, problems out."""

from tdbwatch.daemon.status.health.problem import Problem
from tdbwatch.daemon.status.health.whole import is_ready, problems, state_of

__all__ = ["Problem", "is_ready", "problems", "state_of"]
