"""Which sinks get an event: the routes, and what they answer."""
