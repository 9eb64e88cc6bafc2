"""Work over many clips: results opened for measuring, batches, the tables of the paper, a benchmark."""
