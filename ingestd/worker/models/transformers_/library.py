"""The border to transformers: what is loaded from a folder, quietly, and its exceptions as sentences.

Nothing here reaches a network, runs code that lies in a folder, or reads pickled files.
"""

from __future__ import annotations

import os
import sys
from typing import Any, Final

from ingestd.errors import Misconfigured
from ingestd.worker.models.transformers_.device import Place, torch_dtype
from ingestd.worker.models.transformers_.folder import ModelFolder, Refusal
from ingestd.worker.steps.base import out_of_memory

_HERE: Final[dict[str, Any]] = {"local_files_only": True, "trust_remote_code": False}

_OWN_CODE: Final = "Choose a model that transformers knows by itself"

_FOR_CHAT: Final = "Choose a model that was made for chat"


_CAPTIONERS: Final = frozenset(("blip", "git"))
"""Types of models that write about a picture without being asked, where they have no chat template."""


def quiet() -> None:
    """Progress bars and advice go nowhere: this process has nobody who reads them."""
    # Threads of ours call the tokenizer; its own would only warn of forks.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    # Where SciPy is installed, transformers imports it for the losses of training: 0.6 s of every worker's start.
    sys.modules.setdefault("scipy", None)  # type: ignore[arg-type]
    from transformers.utils import logging

    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]


def config_of(folder: ModelFolder, refuse: Refusal) -> Any:
    """The configuration as transformers' class. Raises ``Misconfigured`` for an architecture that it does not know."""
    import transformers
    from transformers import AutoConfig

    kind = folder.config.get("model_type")
    try:
        return AutoConfig.from_pretrained(folder.path, **_HERE)
    except Exception as error:  # a ValueError by intent; a bad value in the file can raise anything
        if folder.config.get("auto_map"):
            raise refuse("its architecture is code in its own folder, which is never run here", _OWN_CODE) from None
        from transformers import CONFIG_MAPPING

        if kind not in CONFIG_MAPPING:
            known = f"transformers {transformers.__version__} does not know"
            raise refuse(
                f"{known} its model type {kind!r}", "Install a newer transformers, or choose another"
            ) from None
        raise refuse(f"its config.json makes no sense: {first_line(error)}", "Fetch the model again, whole") from None


def describes(config: Any) -> bool:
    """Whether it takes pictures and text and writes text."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING

    return type(config) in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING


def captions_unasked(folder: ModelFolder) -> bool:
    """Whether it takes no prompt: a picture is all that it is given."""
    return folder.config.get("model_type") in _CAPTIONERS and _chat_template(folder) is None


def has_towers(config: Any) -> bool:
    """Whether it has vectors for pictures and texts alike."""
    return _can(config, "get_image_features", "get_text_features")


def has_text_tower(config: Any) -> bool:
    """Whether it has projected vectors for texts."""
    return _can(config, "get_text_features")


def is_plain(config: Any) -> bool:
    """Whether it is a network of one kind of input, with a width: what a sentence encoder is made of."""
    return _base_class(config) is not None and not hasattr(config, "vision_config") and hasattr(config, "hidden_size")


def auto_class(kind: str) -> Any:
    """The class of transformers that loads a model for a kind of step."""
    from transformers import AutoModel, AutoModelForImageTextToText

    return AutoModelForImageTextToText if kind == "describe" else AutoModel


def _can(config: Any, *methods: str) -> bool:
    base = _base_class(config)
    return base is not None and all(hasattr(base, method) for method in methods)


def _base_class(config: Any) -> Any:
    """The class that ``AutoModel`` would make; None when there is none."""
    from transformers.models.auto.modeling_auto import MODEL_MAPPING

    found = MODEL_MAPPING.get(type(config), None)
    return found[0] if isinstance(found, tuple) else found


def load_model(auto: Any, folder: ModelFolder, place: Place, refuse: Refusal, *, spare: tuple[str, ...] = ()) -> Any:
    """A model in its evaluation mode on ``place``. Raises ``Misconfigured``: weights that do not fit the configuration
    or are not all there (``spare``: beginnings of the names of those that nobody needs); ``Unavailable`` when memory
    runs out."""
    try:
        model, info = auto.from_pretrained(
            folder.path, dtype=torch_dtype(place), use_safetensors=True, output_loading_info=True, **_HERE
        )
        model = model.eval().requires_grad_(False).to(place.device)
    except Exception as error:
        if out_of_memory(error):
            raise refuse.unavailable(
                f"memory ran out while its weights were loaded ({place.device}, {place.dtype})",
                "It is tried again; end what else runs, or choose a smaller model",
            ) from None
        raise refuse(f"its weights cannot be loaded: {first_line(error)}", "Fetch the model again, whole") from None
    # The library fills what is missing with random numbers.
    missing = sorted(key for key in info["missing_keys"] if not key.startswith(spare))
    missing += sorted(str(key) for key in info["mismatched_keys"])
    if missing:
        raise refuse(
            f"{len(missing)} of its weights are missing or of another shape, such as {missing[0]}",
            "Fetch the model again, whole",
        )
    return model


def tokenizer_of(folder: ModelFolder, refuse: Refusal) -> Any:
    """The tokenizer. Raises ``Misconfigured``."""
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    try:
        return AutoTokenizer.from_pretrained(folder.path, **_HERE)
    except ImportError as error:
        # SigLIP names a class that wants sentencepiece, beside a file that needs no such thing.
        if folder.has("tokenizer.json"):
            return PreTrainedTokenizerFast.from_pretrained(folder.path, **_HERE)
        raise _lacks(error, "tokenizer", refuse) from None
    except Exception as error:
        raise refuse(f"its tokenizer cannot be read: {first_line(error)}", "Fetch the model again, whole") from None


def image_processor_of(folder: ModelFolder, refuse: Refusal) -> Any:
    """The image processor on Pillow, which needs neither torchvision nor torch. Raises ``Misconfigured``."""
    from transformers import AutoImageProcessor

    try:
        return AutoImageProcessor.from_pretrained(folder.path, backend="pil", **_HERE)  # type: ignore[no-untyped-call]
    except ImportError as error:
        raise _lacks(error, "image processor", refuse) from None
    except Exception as error:
        raise refuse(
            f"its image processor cannot be read: {first_line(error)}", "Fetch the model again, whole"
        ) from None


def processor_of(folder: ModelFolder, refuse: Refusal) -> Any:
    """What makes a prompt and a picture into a model's inputs. Raises ``Misconfigured``.

    SmolVLM's own processor class wants torchvision for videos. ``Idefics3Processor`` does the same to pictures.
    """
    from transformers import AutoProcessor, Idefics3Processor

    if folder.config.get("model_type") in ("smolvlm", "idefics3"):
        images, tokenizer = image_processor_of(folder, refuse), tokenizer_of(folder, refuse)
        try:
            return Idefics3Processor(
                images, tokenizer, image_seq_len=_image_tokens(folder), chat_template=_chat_template(folder)
            )
        except Exception as error:
            raise refuse(f"its processor cannot be built: {first_line(error)}", "Fetch the model again") from None
    try:
        kind = _processor_class(folder)
        if kind is not None and "video_processor" in kind.get_attributes():
            return _without_videos(kind, folder, refuse)
        processor = AutoProcessor.from_pretrained(folder.path, backend="pil", **_HERE)  # type: ignore[no-untyped-call]
    except ImportError as error:
        raise _lacks(error, "processor", refuse) from None
    except Misconfigured:
        raise
    except Exception as error:
        raise refuse(f"its processor cannot be read: {first_line(error)}", "Fetch the model again, whole") from None
    if not (hasattr(processor, "image_processor") and hasattr(processor, "tokenizer")):
        raise refuse("it has no processor that takes a prompt with a picture", _FOR_CHAT)
    return processor


def _processor_class(folder: ModelFolder) -> Any:
    """The class that ``AutoProcessor`` would make: the one that a file of the folder names, else that of its model
    type; None when there is none."""
    from transformers import AutoConfig
    from transformers.models.auto.processing_auto import PROCESSOR_MAPPING, processor_class_from_name

    for name in ("processor_config.json", "preprocessor_config.json", "tokenizer_config.json"):
        said = folder.json(name).get("processor_class")
        if said and (found := processor_class_from_name(said)) is not None:
            return found
    return PROCESSOR_MAPPING.get(type(AutoConfig.from_pretrained(folder.path, **_HERE)), None)


def _without_videos(kind: Any, folder: ModelFolder, refuse: Refusal) -> Any:
    """A processor of pictures and videos (Qwen-VL, InternVL, …) for pictures alone.

    Videos are prepared by torchvision or not at all, so the part for them would keep such a model from being loaded.
    """
    from transformers.video_processing_utils import VideoProcessorMixin

    class ForPictures(kind):  # type: ignore[misc]
        def check_argument_for_proper_class(self, argument_name: str, argument: Any) -> Any:
            """The library does not find the base class of its video processors where torchvision is not installed."""
            if argument_name == "video_processor":
                return VideoProcessorMixin
            return super().check_argument_for_proper_class(argument_name, argument)

    parts: dict[str, Any] = {
        "image_processor": lambda: image_processor_of(folder, refuse),
        "tokenizer": lambda: tokenizer_of(folder, refuse),
        "video_processor": VideoProcessorMixin,
    }
    settings, others = kind.get_processor_dict(folder.path, **_HERE)
    return ForPictures.from_args_and_dict([parts[name]() for name in kind.get_attributes()], settings, **others)


def want_of(images: Any) -> int:
    """The shorter side in pixels that an image processor makes its picture from; 0 where only full size is safe."""
    size = dict(getattr(images, "size", None) or {})
    patches = getattr(images, "max_num_patches", None)
    if patches:
        return int(patches**0.5 * getattr(images, "patch_size", 16)) + 1
    sides = [size.get(name) for name in ("shortest_edge", "height", "width", "longest_edge")]
    crop = dict(getattr(images, "crop_size", None) or {})
    sides += [crop.get("height"), crop.get("width")]
    want = max((int(side) for side in sides if side), default=0)
    # Some processors give numbers of pixels under the names of edges.
    return want if want <= _LARGEST_SIDE else 0


_LARGEST_SIDE: Final = 4096


def pixel_limits(images: Any) -> dict[str, int]:
    """The least and the largest number of pixels, under the names of edges, of an image processor that keeps the
    size of a picture between two such numbers; empty for any other."""
    size = dict(getattr(images, "size", None) or {})
    limits = {name: int(size.get(name) or 0) for name in ("shortest_edge", "longest_edge")}
    return limits if limits["shortest_edge"] and limits["longest_edge"] > _LARGEST_SIDE else {}


def _image_tokens(folder: ModelFolder) -> int:
    """Tokens that stand for one view of a picture: ``processor_config.json`` says it, else it follows from the model's
    sizes (as in ``Idefics3Processor``'s documentation)."""
    said = folder.json("processor_config.json").get("image_seq_len")
    if said:
        return int(said)
    vision = folder.config["vision_config"]
    return int((vision["image_size"] // vision["patch_size"]) ** 2 / folder.config.get("scale_factor", 2) ** 2)


def _chat_template(folder: ModelFolder) -> str | None:
    """From the file of today, the one of yesterday, or the tokenizer's own settings."""
    plain = folder.path / "chat_template.jinja"
    if plain.is_file():
        return plain.read_text(encoding="utf-8")
    for name in ("chat_template.json", "processor_config.json", "tokenizer_config.json"):
        template = folder.json(name).get("chat_template")
        if isinstance(template, str):
            return template
    return None


def _lacks(error: ImportError, part: str, refuse: Refusal) -> Misconfigured:
    lines = str(error).lower()
    names = [name for name in ("sentencepiece", "torchvision", "num2words", "tiktoken", "timm") if name in lines]
    remedy = f"pip install {' '.join(names)}" if names else "Install what it names"
    return refuse(
        f"its {part} needs a library that is not installed: {names[0] if names else first_line(error)}", remedy
    )


def first_line(error: Exception) -> str:
    """An exception's kind and the first line of its text."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # It stands before the full stop of a sentence of ours.
    return f"{type(error).__name__}: {lines[0] if lines else ''}"[:300].rstrip(".: ")
