"""The page, one function per region."""
