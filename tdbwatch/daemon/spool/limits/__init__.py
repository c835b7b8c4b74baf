"""How much the spool keeps, and what it gives up first."""
