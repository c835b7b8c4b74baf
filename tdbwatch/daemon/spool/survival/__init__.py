"""How the file survives: damage, rescue, locks, other programs' files, full disks."""
