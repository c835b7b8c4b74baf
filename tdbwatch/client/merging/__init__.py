"""One stream out of several links. Pure."""
