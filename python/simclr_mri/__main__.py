"""`python -m simclr_mri` is the command `simclr-mri`."""

from __future__ import annotations

import signal
import sys


def main() -> int:
    """As `cli.main`; Ctrl-C while that is being imported ends in one line too; SIGTERM and SIGUSR1 are like Ctrl-C."""
    try:
        # Batch systems send them before they kill: what Ctrl-C keeps, above all a checkpoint, is kept then. mpiexec
        # hands SIGUSR1 on to its processes, where it answers Ctrl-C and SIGTERM by killing them.
        for name in ("SIGTERM", "SIGUSR1"):  # Windows lacks the second
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), lambda *_: signal.raise_signal(signal.SIGINT))
        if hasattr(sys.stdout, "reconfigure"):  # names of files that are no text are printed as they are
            sys.stdout.reconfigure(errors="surrogateescape")
        from .cli import main as run

        return run()
    except KeyboardInterrupt:
        print("simclr-mri: stopped", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
