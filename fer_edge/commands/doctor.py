"""``fer-edge doctor``."""

from __future__ import annotations

import argparse

from ..errors import printable
from ._json import to_json

HELP = "Check this installation: versions, C extension, backends, weights, detector, cameras."
EPILOG = """examples:
  fer-edge doctor
  fer-edge doctor --camera
  fer-edge doctor --json

Exit code: 0 if `fer-edge run` can work, 1 if it cannot. Without --camera, a missing camera is no fault;
with it, one camera has to give pictures."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--camera", action="store_true", help="try every camera for two seconds, too")
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")


def execute(arguments: argparse.Namespace) -> int:
    """Examine and print."""
    from dataclasses import asdict

    from ..checks.installation import examine
    from ..native_output import litert_greeting

    with litert_greeting():
        findings = examine(arguments.camera)
    if arguments.json:
        print(to_json([asdict(finding) for finding in findings]))
    else:
        for finding in findings:
            remedy = f"; remedy: {finding.remedy}" if finding.remedy else ""
            print(printable(f"{finding.state:<8}{finding.subject:<14}{finding.detail}{remedy}"))
    return 1 if any(finding.state == "fault" for finding in findings) else 0
