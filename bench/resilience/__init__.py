"""What is lost, doubled and late when nodes of a real cluster go away: `python -m bench.resilience --help`."""
