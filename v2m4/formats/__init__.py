"""Files of meshes that other programs wrote."""
