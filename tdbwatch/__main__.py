"""`python -m tdbwatch`."""

import sys

from tdbwatch.cli.app import main

sys.exit(main())
