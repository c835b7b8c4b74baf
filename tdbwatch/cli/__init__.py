"""The command line: `tdbwatch --config prod.yaml`, and what helps around it."""
