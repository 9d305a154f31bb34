"""What a client may ask for: one pydantic schema per task, declared once.

Bounds, defaults and descriptions here become the API's schema, the docs, the CLI's help and the dashboard's form.
To add a task: a `TaskParams` subclass in a file here, one line in `TASKS`.
"""

from models.params.base import OnePictureParams, OutputFormat, PictureParams, SeededParams, TaskParams, parse_params
from models.params.class_to_image import ClassToImageParams
from models.params.data_sets import Method, PreprocessParams, TrainParams
from models.params.diffusion import DiffusionParams, Fit, Lora, SchedulerName
from models.params.edits import ControlParams, EditParams, ImageToImageParams, InpaintParams, OutpaintParams
from models.params.inputs import DataSetRef, InputRef, Kind, PictureRef, TextRef
from models.params.language import CaptionParams, ExpandPromptParams
from models.params.latents import InterpolateParams, ReconstructParams
from models.params.pictures import StyleTransferParams, TranslateParams, UpscaleParams
from models.params.profile import CheckpointProfile
from models.params.sample import SampleParams
from models.params.score import Metric, ScoreParams
from models.params.text_to_image import TextToImageParams

TASKS: dict[str, type[TaskParams]] = {
    "text_to_image": TextToImageParams,
    "image_to_image": ImageToImageParams,
    "edit": EditParams,
    "inpaint": InpaintParams,
    "outpaint": OutpaintParams,
    "control": ControlParams,
    "upscale": UpscaleParams,
    "style_transfer": StyleTransferParams,
    "translate": TranslateParams,
    "sample": SampleParams,
    "class_to_image": ClassToImageParams,
    "reconstruct": ReconstructParams,
    "interpolate": InterpolateParams,
    "expand_prompt": ExpandPromptParams,
    "caption": CaptionParams,
    "score": ScoreParams,
    "preprocess": PreprocessParams,
    "train": TrainParams,
}
"""Every task of `POST /v1/jobs`, by name."""

__all__ = [
    "TASKS",
    "CaptionParams",
    "CheckpointProfile",
    "ClassToImageParams",
    "ControlParams",
    "DataSetRef",
    "DiffusionParams",
    "EditParams",
    "ExpandPromptParams",
    "Fit",
    "ImageToImageParams",
    "InpaintParams",
    "InputRef",
    "InterpolateParams",
    "Kind",
    "Lora",
    "Method",
    "Metric",
    "OnePictureParams",
    "OutpaintParams",
    "OutputFormat",
    "PictureParams",
    "PictureRef",
    "PreprocessParams",
    "ReconstructParams",
    "SampleParams",
    "SchedulerName",
    "ScoreParams",
    "SeededParams",
    "StyleTransferParams",
    "TaskParams",
    "TextRef",
    "TextToImageParams",
    "TrainParams",
    "TranslateParams",
    "UpscaleParams",
    "parse_params",
]
