"""Section 4.1: the camera of each keyframe."""
