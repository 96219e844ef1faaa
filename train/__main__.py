"""``torchrun --nproc-per-node 2 -m fer_edge.train …``: the same options as ``fer-edge train``."""

import sys

from fer_edge.cli import main

sys.exit(main(["train", *sys.argv[1:]]))
