"""The page: Gradio blocks, one file per region, over the same pipeline as the command line."""
