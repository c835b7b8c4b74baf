"""tdbwatch reacts to ThingsDB events: a connector, a daemon with plugins, and an embedded node."""

__version__ = "0.1.0"
