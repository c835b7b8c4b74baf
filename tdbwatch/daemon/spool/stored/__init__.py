"""What is in the file, and how it is read and written. The only SQL about it is here."""
