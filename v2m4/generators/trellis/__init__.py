"""TRELLIS image-to-3D in plain PyTorch: the model, the loading of its checkpoints, and the `trellis` generator.

`layers`, `voxels`, `sparse` are building blocks; `structure`, `latent`, `decoders` the five networks; `sampler` the
flow sampler; `conditioning` the image side; `builder` loads checkpoints; `predictor` is the generator.
"""
