"""The sections of the paper, a file each."""
