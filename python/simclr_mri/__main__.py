"""`python -m simclr_mri` is the command `simclr-mri`."""

import sys

from .cli import main

sys.exit(main())
