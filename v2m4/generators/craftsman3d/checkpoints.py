"""Where the weights of CraftsMan3D come from.

The Hub answers anonymous visitors of this repository with "401", and no public code names a commit of it, so no
revision could be pinned. What the cache holds is taken without asking for newer files, and its commit and digest are
written into every run.
"""

from __future__ import annotations

PLUG = "craftsman3d"
REPOSITORY = "craftsman3d/craftsman-DoraVAE"
REVISION = "main"
CONFIG = "config.yaml"
WEIGHTS_FILE = "model.ckpt"

WEIGHTS = tuple((REPOSITORY, name, REVISION) for name in (CONFIG, WEIGHTS_FILE))
"""Every file that `from_pretrained` reads, as (repository, file, revision)."""
