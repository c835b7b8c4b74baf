"""Commands about what is in the spool."""
