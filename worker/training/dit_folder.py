"""How a trained ``DiTPipeline`` is written: as float16 safetensors, with the names of its classes."""

import json
from pathlib import Path

from diffusers import DiTPipeline

INDEX_FILE = "model_index.json"


def write(folder: Path, pipeline: DiTPipeline, class_names: tuple[str, ...]) -> None:
    """Write every part; ``id2label`` in ``model_index.json`` is where the pipeline looks for names."""
    for part in (pipeline.transformer, pipeline.vae):
        part.half()
    pipeline.save_pretrained(folder, safe_serialization=True)
    for part in (pipeline.transformer, pipeline.vae):
        part.float()
    path = folder / INDEX_FILE
    index = json.loads(path.read_text(encoding="utf-8"))
    index["id2label"] = {str(number): name for number, name in enumerate(class_names)}
    path.write_text(json.dumps(index, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    for weights in folder.rglob("*.safetensors"):
        weights.chmod(0o644)  # safetensors writes files for their owner alone
