"""``python -m fer_edge`` is ``fer-edge``."""

import sys

from .cli import main

sys.exit(main())
