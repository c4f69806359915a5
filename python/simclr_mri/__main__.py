"""`python -m simclr_mri` is the command `simclr-mri`."""

from __future__ import annotations

import signal
import sys


def main() -> int:
    """As `cli.main`; Ctrl-C while that is being imported ends in one line too, and SIGTERM is like Ctrl-C."""
    try:
        # Batch systems send it before they kill: what Ctrl-C keeps, a checkpoint above all, is kept then, too.
        signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
        from .cli import main as run

        return run()
    except KeyboardInterrupt:
        print("simclr-mri: stopped", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
