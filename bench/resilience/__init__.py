"""What is lost, doubled and late when nodes of a real cluster go away. Run `python -m bench.resilience`."""
