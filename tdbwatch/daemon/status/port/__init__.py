"""The status port: its sockets, who may ask, and what each address answers."""
