"""The program as a process: how it ends while a thread of it is in native code."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("cv2")

PROGRAM = """
import sys, threading, time
import cv2, numpy
from fer_edge import __main__ as program

class Slow:
    def __del__(self):
        time.sleep(5)

# Keeps the interpreter busy with its end until the thread comes back to it.
sys.slow = Slow()
picture = numpy.zeros((1500, 1500, 3), numpy.uint8)
began = threading.Event()

def work():
    while True:
        began.set()
        cv2.GaussianBlur(picture, (0, 0), 10)

threading.Thread(target=work, daemon=True, name={name!r}).start()
began.wait()
program.cli.main = lambda: print("ended") or 3
sys.exit(program.main())
"""


@pytest.mark.parametrize("name", ["capture", "closing", "output-video"])
def test_a_thread_that_is_left_behind_in_a_driver_does_not_abort_the_end(name):
    code = PROGRAM.replace("{name!r}", repr(name))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (3, "ended\n", "")


def test_without_one_the_interpreter_ends_as_usual():
    code = (
        "import atexit, sys; from fer_edge import __main__ as program; atexit.register(print, 'at exit'); "
        "program.cli.main = lambda: 4; sys.exit(program.main())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (4, "at exit\n")
