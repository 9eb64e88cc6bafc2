"""What generators over vector sets share: a shape is a set of latent vectors that any point of space can ask.

3DShape2VecSet: Zhang et al., arXiv 2301.11445. TripoSG, Hunyuan3D-2 and CraftsMan3D make such sets with a rectified
flow from the picture's DINOv2 tokens, and read them with the same kind of decoder.
"""
