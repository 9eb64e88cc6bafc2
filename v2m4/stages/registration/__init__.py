"""Section 4.3: one topology for all keyframes."""
