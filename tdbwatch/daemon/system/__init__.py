"""The process: what it needs of the system, and what systemd hears of it."""
