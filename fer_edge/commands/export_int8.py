"""``fer-edge export-int8``."""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from dataclasses import asdict
from pathlib import Path

from ..errors import DataError, MissingExtraError
from ..option import BALANCE
from ._json import to_json
from ._renamed import renamed_names_reported
from ._skipped import print_skipped
from ._votes import votes_of

HELP = (
    "Turn a training checkpoint into int8 files for LiteRT and ONNX Runtime, check them on held-out rows "
    "against the PyTorch network, and write them with a manifest; fp32 files are written beside them."
)
EPILOG = """writes DIR/NAME-int8.tflite, NAME-int8.onnx, and the same in 32 bits, NAME-fp32.tflite and
NAME-fp32.onnx, which --precision fp32 takes

examples:
  fer-edge export-int8 runs/mine/best.pt --calibration fer2013.csv --out exported
  fer-edge export-int8 runs/mine/best.pt --calibration photos --detect --out exported
  fer-edge run --camera demo --model exported

refuses to write weights that lose more than 1 point, or whose ONNX and TFLite files agree on
less than 99.8 % of the held-out rows or have int8 logits more than two steps apart
needs the extra [export]: pip install 'fer-edge[export]'"""

_NEEDED = (
    "torch",
    "litert_torch",
    "ai_edge_quantizer",
    "ai_edge_litert",
    "onnx",
    "onnxruntime",
    "onnxscript",
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="best.pt or last.pt of fer-edge train")
    parser.add_argument(
        "--calibration",
        metavar="DATA",
        default=os.environ.get("FER2013_CSV"),
        help="FER-2013 CSV with Usage, or the same as .npz or folder, as fer-edge train reads it: Training "
        "rows calibrate, those of PublicTest check; default: FER2013_CSV",
    )
    parser.add_argument(
        "--votes",
        metavar="CSV",
        help="FER+ votes in the same row order, for a network that answers for people; default: FERPLUS_CSV, "
        "where FER2013_CSV is what calibrates",
    )
    parser.add_argument(
        "--detect",
        action="store_true",
        help="find the face in each picture of a folder, as for a network that was trained with --detect",
    )
    parser.add_argument("--skip-bad", action="store_true", help="skip bad rows of a CSV and say which")
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help="folder for the files")
    parser.add_argument("--model", metavar="NAME", help="name of the model (default: its architecture)")
    parser.add_argument("--rows", type=int, default=512, help="calibration rows (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="seed that chooses them (default: %(default)s)")
    parser.add_argument(
        "--balance",
        type=BALANCE.parse,
        metavar="T",
        help="make T the model's own balance, 0 to 2: how far it favours rare emotions in people's answers "
        "(default: of 0, 0.25, 0.5, 0.75 and 1 the one with the largest sum of agreement and mean recall)",
    )
    parser.add_argument("--force", action="store_true", help="replace a model of that name in --out")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def require_export() -> None:
    """Raise MissingExtraError where a package for exporting is missing."""
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingExtraError("Exporting", ", ".join(missing), "export")


def execute(arguments: argparse.Namespace) -> int:
    """Run the export."""
    # TensorFlow's C++ parts greet on stderr otherwise.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    require_export()
    from ..export.parity import CalibrationError
    from ..export.pipeline import export
    from ..train.data import read_data

    if not arguments.calibration:
        raise DataError("no calibration data: give --calibration CSV or set FER2013_CSV")
    if arguments.rows < 1:
        raise DataError(f"--rows must be at least 1, got {arguments.rows}")
    if arguments.seed < 0:
        raise DataError(f"--seed must be at least 0, got {arguments.seed}")
    votes = votes_of(arguments.calibration, arguments.votes)
    dataset = read_data(arguments.calibration, votes, skip_bad=arguments.skip_bad, detect=arguments.detect)
    print_skipped(dataset)
    with renamed_names_reported():
        try:
            report = export(
                arguments.checkpoint,
                dataset,
                arguments.out,
                votes=dataset.votes,
                model=arguments.model,
                calibration_rows=arguments.rows,
                seed=arguments.seed,
                balance=arguments.balance,
                force=arguments.force,
                progress=lambda message: print(message, file=sys.stderr, flush=True),
            )
        except CalibrationError as error:
            raise CalibrationError(
                f"{error}. Chance decides much where few faces calibrate: try more of them, or others "
                "(--seed, and fewer --rows where they are all of Training)"
            ) from error
    if arguments.json:
        print(to_json(asdict(report)))
        return 0
    for head, accuracy in report.accuracy.items():
        print(f"{report.model}, {head}: PyTorch fp32 {accuracy:.2f} % of {report.rows} held-out rows")
        print(f"{'file':<24}{'KB':>7}{'accuracy':>10}{'drop':>7}{'arg-max':>9}{'logit diff':>12}")
        for name, outputs in report.parity.items():
            parity = outputs[head]
            print(
                f"{name:<24}{report.sizes[name] / 1000:>7.0f}{parity.accuracy:>9.2f}%{parity.drop:>7.2f}"
                f"{parity.agreement:>9.2%}{parity.largest_difference:>12.4f}"
            )
        for precision, agreement in report.agreement.items():
            print(f"ONNX and TFLite {precision} agree on {agreement[head]:.2%} of rows")
    if report.people is not None:
        print(f"people: balance {report.people.balance:g}, unsure above {report.people.unsure_above:.2f}")
    print(f"their int8 logits differ by at most {report.steps} step{'s' * (report.steps != 1)}")
    print(f"written to {arguments.out}")
    return 0
