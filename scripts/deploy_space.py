"""Create or update a Space on the Hugging Face Hub from this checkout.

    python scripts/deploy_space.py OWNER/NAME [--hardware zero-a10g] [--private] [--go]

Without --go it prints what it would do and touches nothing. With it, log in first (`hf auth login`). Only files that
git tracks are sent, and of those only what the page needs.
"""

from __future__ import annotations

import argparse
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]
SENT = ("app.py", "README.md", "LICENSE", "requirements.txt", "packages.txt", "v2m4/", "assets/")


def files() -> list[str]:
    """The tracked files that a Space needs, relative to the checkout."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return sorted(f for f in listed.split("\0") if f and f.startswith(SENT) and (ROOT / f).is_file())


def describe(space: str, hardware: str, private: bool, names: list[str]) -> str:
    """What would be done, as text."""
    size = sum((ROOT / name).stat().st_size for name in names)
    return "\n".join(
        [
            f"Space:    {space} ({'private' if private else 'public'}, sdk gradio)",
            f"Hardware: {hardware}",
            f"Files:    {len(names)}, {size / 1e6:.1f} MB",
            *(f"  {name}" for name in names),
        ]
    )


def deploy(space: str, hardware: str, private: bool, names: list[str]) -> str:
    """Create the Space if need be, send the files as one commit, ask for the hardware; returns its address."""
    from huggingface_hub import CommitOperationAdd, HfApi

    api = HfApi()
    address = api.create_repo(space, repo_type="space", space_sdk="gradio", private=private, exist_ok=True)
    operations = [CommitOperationAdd(path_in_repo=name, path_or_fileobj=ROOT / name) for name in names]
    api.create_commit(space, operations, commit_message="Update from the checkout", repo_type="space")
    api.request_space_hardware(space, hardware)
    return str(address)


def main(arguments: list[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(description="Create or update a Space from this checkout.")
    parser.add_argument("space", help="OWNER/NAME of the Space")
    parser.add_argument("--hardware", default="zero-a10g", help="such as zero-a10g or cpu-basic")
    parser.add_argument("--private", action="store_true")
    parser.add_argument("--go", action="store_true", help="do it; otherwise only say what would be done")
    options = parser.parse_args(arguments)
    if options.space.count("/") != 1:
        parser.error(f"“{options.space}” is not a Space's name; it has the form OWNER/NAME.")
    names = files()
    print(describe(options.space, options.hardware, options.private, names))
    if not options.go:
        print("\nNothing was sent. Add --go to do it.")
        return 0
    print(deploy(options.space, options.hardware, options.private, names))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
