"""Commands that run something, or ask what runs."""
