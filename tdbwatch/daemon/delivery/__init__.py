"""All sinks together: who delivers, in which order, how often, and again."""
