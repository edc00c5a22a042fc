"""`python -m l2ae_core` is the command `l2ae`."""

import sys

from l2ae_core.cli import main

if __name__ == "__main__":
    sys.exit(main())
