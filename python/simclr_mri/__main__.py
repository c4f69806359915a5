"""`python -m simclr_mri` is the command `simclr-mri`."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
