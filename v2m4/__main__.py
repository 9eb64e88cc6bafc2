"""`python -m v2m4`."""

import sys

from v2m4.cli import main

sys.exit(main())
