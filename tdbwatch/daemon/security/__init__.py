"""Whose files to believe, and the secrets that the daemon needs."""
