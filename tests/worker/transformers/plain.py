"""What plain transformers code makes of files: what our steps are held against."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy
import torch
from PIL import Image
from transformers import (
    AutoImageProcessor,
    AutoModel,
    AutoModelForImageTextToText,
    AutoProcessor,
    AutoTokenizer,
    Idefics3Processor,
)

from tests.tinymodels import CHAT
from tests.worker.transformers.kit import LIMIT, opened, unit

PROMPT = "what is in the picture"


def plain_vectors(folder: Path, photos: list[Path]) -> numpy.ndarray:
    model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    inputs = AutoImageProcessor.from_pretrained(folder)([opened(path) for path in photos], return_tensors="pt")
    return unit(model.get_image_features(**inputs).pooler_output)


class PlainQwen:
    """What Qwen2.5-VL's processor does to pictures, by its parts: it cannot be made without torchvision."""

    def __init__(self, folder: Path) -> None:
        self.images = AutoImageProcessor.from_pretrained(folder)
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.apply_chat_template = self.tokenizer.apply_chat_template
        self.batch_decode = self.tokenizer.batch_decode

    def __call__(self, text: list[str], images: list[list[Image.Image]], **options: Any) -> Any:
        seen = self.images(images, return_tensors="pt")
        counts = [int(grid.prod()) // 4 for grid in seen["image_grid_thw"]]
        words = [each.replace("<|image_pad|>", "<|image_pad|>" * n) for each, n in zip(text, counts, strict=True)]
        tokens = self.tokenizer(words, **options)
        pictures = tokens["input_ids"] == self.tokenizer.convert_tokens_to_ids("<|image_pad|>")
        return {**seen, **tokens, "mm_token_type_ids": pictures.int()}


def plain_processor(folder: Path) -> Any:
    if folder.name == "qwen":
        return PlainQwen(folder)
    if folder.name != "smolvlm2":
        return AutoProcessor.from_pretrained(folder)
    images, tokenizer = AutoImageProcessor.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    return Idefics3Processor(images, tokenizer, image_seq_len=4, chat_template=CHAT)


def plain_texts(folder: Path, photos: list[Path], *, together: bool) -> list[str | None]:
    """Greedy texts; None for one that the model did not end, which is written again."""
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()
    ends = set(model.generation_config.eos_token_id)
    processor = plain_processor(folder)
    processor.tokenizer.padding_side = "left"
    chat = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": PROMPT}]}]
    prompt = processor.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
    texts: list[str | None] = []
    for group in [photos] if together else [[path] for path in photos]:
        inputs = processor(
            text=[prompt] * len(group),
            images=[[opened(path)] for path in group],
            padding=True,
            return_tensors="pt",
        )
        tokens = model.generate(**inputs, do_sample=False, max_new_tokens=LIMIT)[:, inputs["input_ids"].shape[1] :]
        said = processor.batch_decode(tokens, skip_special_tokens=True)
        texts += [each.strip() if ends & set(row) else None for each, row in zip(said, tokens.tolist(), strict=True)]
    return texts
