"""Live connections: one link, who keeps it alive, and all of them."""
