"""Where sinks live, and what they get of the daemon."""
