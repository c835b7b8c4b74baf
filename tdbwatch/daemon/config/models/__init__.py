"""The configuration, typed: what each key may hold."""
