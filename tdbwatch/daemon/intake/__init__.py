"""From rooms to the spool: what is watched, what is heard, and what was missed."""
