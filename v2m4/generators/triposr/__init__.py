"""The generator `triposr`: one picture to a coloured mesh in one pass, on a machine without a GPU."""

from v2m4.generators.triposr.predictor import TripoSR

__all__ = ["TripoSR"]
