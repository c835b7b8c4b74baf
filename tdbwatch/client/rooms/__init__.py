"""What is to be heard: subscriptions, who joins them, and who is told."""
