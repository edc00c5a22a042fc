"""`python -m l2ae_kernels.emulator.planted`."""

import sys

from l2ae_kernels.emulator.planted.check import main

sys.exit(main(sys.argv[1:]))
