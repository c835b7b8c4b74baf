"""From YAML in files to one tree of plain data."""
