"""Looking into a spool from outside, whether a daemon uses it or not."""
