"""The daemon: rooms in, records out, and everything durable in between."""
