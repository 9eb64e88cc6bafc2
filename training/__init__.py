"""Training data and training of the network behind the generator `sculpt`."""
