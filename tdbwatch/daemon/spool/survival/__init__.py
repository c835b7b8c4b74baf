"""How what is in the file survives: it is watched, rescued from a damaged one, and goes on in a new one."""
