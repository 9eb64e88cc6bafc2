"""Hunyuan3D-2.0: one picture to a shape through a flow over vector sets (Zhao et al., arXiv 2501.12202)."""
