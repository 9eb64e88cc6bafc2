"""The sections of the paper, a package or a file each."""
