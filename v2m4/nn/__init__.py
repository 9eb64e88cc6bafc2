"""What the networks share: layers, precision, weights, recorded CUDA graphs."""
