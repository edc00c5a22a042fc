"""Time this machine contender by contender with the peers that are installed: `run.py --help`."""

import sys

from l2ae_bench.command import main

if __name__ == "__main__":
    sys.exit(main())
