"""As `thingsdb.misc`."""
