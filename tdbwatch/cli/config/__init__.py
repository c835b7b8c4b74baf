"""Commands about a configuration and its plugins."""
