"""From one video of a moving object to an animated, textured mesh."""

__version__ = "0.1.0"
