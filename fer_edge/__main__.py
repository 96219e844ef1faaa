"""The program: ``fer-edge``, and ``python -m fer_edge``."""

import signal
import sys

# Until cli.main() takes over, Ctrl-C ends the program without a traceback from an import.
if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
