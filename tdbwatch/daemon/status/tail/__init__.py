"""The last events, and those that come: read from the log as a sink reads it, by those who look.

Nothing is kept for it and nothing done while nobody looks; what is shown is durable.
"""
