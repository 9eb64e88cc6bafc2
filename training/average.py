"""The mean of several files of weights:  python -m training.average OUT FILE FILE ...

What was trained on from the same weights can be averaged, and the mean keeps more of what the new examples do not show
(Wortsman et al. 2022, "Robust fine-tuning of zero-shot models").
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file


def average(files: Sequence[Path], out: Path) -> None:
    """Write to ``out`` the mean of the weights in ``files``, in half precision."""
    weights = [load_file(file) for file in files]
    mean = {name: torch.stack([w[name].float() for w in weights]).mean(0).half().contiguous() for name in weights[0]}
    save_file(mean, out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("files", type=Path, nargs="+")
    arguments = parser.parse_args()
    average(arguments.files, arguments.out)


if __name__ == "__main__":
    main()
