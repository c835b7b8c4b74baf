"""The pages for people: HTML that needs nothing else. Pure: a snapshot in, text out."""
