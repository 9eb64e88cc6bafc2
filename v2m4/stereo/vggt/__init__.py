"""VGGT: point maps of many views in one pass of a transformer."""

from v2m4.stereo.vggt.predictor import VggtCommercialStereo, VggtStereo

__all__ = ["VggtCommercialStereo", "VggtStereo"]
