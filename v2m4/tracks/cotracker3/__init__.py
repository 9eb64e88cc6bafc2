"""CoTracker3 in plain PyTorch: the network, its two ways through a clip, and the plugs `cotracker3` and
`cotracker3-online`."""
