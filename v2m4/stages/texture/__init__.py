"""Section 4.4: one texture for all keyframes."""
