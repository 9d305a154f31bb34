"""The registry of checkpoints: where weights come from, what they can do, and the hash of every file."""

from models.checkpoints.manifest import FileManifest, scan_folder
from models.checkpoints.registry import find_for_task, list_checkpoints, register
from models.checkpoints.rows import Checkpoint, Source

__all__ = ["Checkpoint", "FileManifest", "Source", "find_for_task", "list_checkpoints", "register", "scan_folder"]
