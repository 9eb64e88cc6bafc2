"""The whole method, measured, from video to GLB.

    python -m benchmarks.run --gpu [--only CASE ...] [--seconds 400] [-o FOLDER]

On a CUDA GPU: full-size networks with random weights (which cost what real ones cost), written to a cache shaped like
the Hub's and read by the code that reads real ones; `stand_in` says what replaces the rubbish that they make. With
``--toy`` the same on a CPU, everything tiny, to try the benchmark itself. FOLDER gets log.txt, events.jsonl, run.json
while it runs. The exit code is 1 if any case failed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks.whole_gpu import CASES, run_whole


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpu", action="store_true", required=True, help="on a CUDA GPU, with every learned plug")
    parser.add_argument("--toy", action="store_true", help="the same on a CPU, everything tiny")
    parser.add_argument("--only", nargs="*", default=[], choices=[case.name for case in CASES], metavar="CASE")
    parser.add_argument("--seconds", type=float, default=3600, help="stop after so many; what was found is kept")
    parser.add_argument("--work", type=Path, help="where checkpoints (8 GB) and runs go; a temporary folder if absent")
    parser.add_argument("-o", "--output", type=Path, default=Path("output/benchmarks"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="v2m4-benchmark-", dir=options.work) as work:
        return int(run_whole(options.output, Path(work), options.seconds, options.toy, options.only) > 0)


if __name__ == "__main__":
    sys.exit(main())
