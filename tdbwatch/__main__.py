"""`python -m tdbwatch`."""

import sys

from tdbwatch.cli import main

sys.exit(main())
