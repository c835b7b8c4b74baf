"""The file itself, whatever is in it: its disk, lock and log; damage; other programs' files."""
