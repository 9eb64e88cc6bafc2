"""Command line of the parity checks: `python -m tests.parity [--device cuda] DIR...`; exit code 1 if anything fails."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.parity.runner import report, run_folder


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.parity", description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="folder of fixtures")
    parser.add_argument("-v", "--verbose", action="store_true", help="also print every single comparison")
    parser.add_argument("--device", default="cpu", help="where the networks run, for example cuda")
    options = parser.parse_args(arguments)

    outcomes = []
    for folder in options.folders:
        for outcome in run_folder(folder, device=options.device):
            print(report(outcome, verbose=options.verbose), flush=True)
            outcomes.append(outcome)
    failed = [o for o in outcomes if not o.passed]
    print(f"{len(outcomes) - len(failed)} of {len(outcomes)} passed")
    return 1 if failed or not outcomes else 0


if __name__ == "__main__":
    sys.exit(main())
