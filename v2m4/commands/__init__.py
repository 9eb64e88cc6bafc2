"""What each word after `v2m4` does: its options and its output."""
