"""A changed configuration, taken up while the daemon runs."""
