"""The program: ``fer-edge``, and ``python -m fer_edge``."""

import contextlib
import os
import signal
import sys
import threading

# Until cli.main() takes over, Ctrl-C ends the program without a traceback from an import.
if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from . import cli

_IN_NATIVE_CODE = ("capture", "closing", "opening", "output-", "pipe")
"""How the names of threads begin that may hang in drivers and libraries, and are left behind then."""


def main() -> int:
    """Run the command line; returns its exit code.

    Does not return where a thread was left behind in native code. At its end, Python stops such a thread by
    unwinding its stack when it comes back (CPython's issue 87135), and C++ answers by abort, exit code 134.
    """
    code = cli.main()
    if any(thread.name.startswith(_IN_NATIVE_CODE) for thread in threading.enumerate()):
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)
    return code


if __name__ == "__main__":
    sys.exit(main())
