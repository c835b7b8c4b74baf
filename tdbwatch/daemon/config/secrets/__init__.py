"""Secrets in a configuration: where they come from, and how they stay out of sight."""
