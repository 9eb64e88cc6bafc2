"""DUSt3R: dense stereo from pairs of images, and the alignment of all pairs in one world."""

from v2m4.stereo.dust3r.predictor import Dust3r

__all__ = ["Dust3r"]
