"""`tdbwatch top`: a running daemon at a glance."""
