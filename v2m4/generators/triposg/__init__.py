"""TripoSG: one picture to a shape through a flow over vector sets (Li et al., arXiv 2502.06608)."""
