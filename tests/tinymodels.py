"""Builds tiny checkpoints with random weights, as folders that transformers itself wrote: one for each model family.

Tokenizers are those of ``tinytokens``, chat templates are those of the originals in structure, weights are
safetensors. Weights are drawn wide, so that other pictures give clearly other vectors and texts. Every builder takes
the folder to write and a seed, and gives the folder back.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForImageTextToText,
    BertConfig,
    BertModel,
    BlipConfig,
    BlipForConditionalGeneration,
    BlipImageProcessorPil,
    BlipProcessor,
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPVisionConfig,
    GenerationConfig,
    GitConfig,
    GitForCausalLM,
    GitProcessor,
    GPT2Config,
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Idefics3ImageProcessorPil,
    LlamaConfig,
    LlamaForCausalLM,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2VLImageProcessorPil,
    Siglip2Config,
    Siglip2ImageProcessorPil,
    Siglip2Model,
    SiglipConfig,
    SiglipImageProcessorPil,
    SiglipModel,
    SmolVLMConfig,
    SmolVLMForConditionalGeneration,
    SmolVLMImageProcessorPil,
    VisionEncoderDecoderConfig,
    VisionEncoderDecoderModel,
    ViTConfig,
    ViTImageProcessorPil,
)

from tests.tinytokens import bert_tokenizer, chat_tokenizer, clip_tokenizer, siglip2_tokenizer

SIDE = 32
"""Pixels of a side that the tiny vision towers see."""

VIEW_TOKENS = (SIDE // 8 // 2) ** 2
"""What stands for one view in a prompt: patches of 8 pixels, two by two of them made one."""

CHAT = (
    "<|im_start|>{% for message in messages %}{{message['role'] | capitalize}}"
    "{% if message['content'][0]['type'] == 'image' %}{{':'}}{% else %}{{': '}}{% endif %}"
    "{% for line in message['content'] %}{% if line['type'] == 'text' %}{{line['text']}}"
    "{% elif line['type'] == 'image' %}{{ '<image>' }}{% endif %}{% endfor %}<end_of_utterance>\n{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)

_TOWER = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
_EYE = {**_TOWER, "image_size": SIDE, "patch_size": 8}


def clip(folder: Path, seed: int = 0) -> Path:
    """A CLIP whose vectors have 24 numbers."""
    tokenizer = clip_tokenizer(16)
    config = CLIPConfig(text_config=_reader(tokenizer), vision_config=dict(_EYE), projection_dim=24)
    return save(folder, seed, CLIPModel, config, tokenizer, clip_processor(SIDE))


def clip_processor(side: int) -> Any:
    """Crops the middle: a square of ``side`` pixels."""
    return CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size={"height": side, "width": side})


def siglip(folder: Path, seed: int = 0) -> Path:
    """A SigLIP (and, in form, a SigLIP 2 of fixed resolution): texts are padded to 16 tokens."""
    tokenizer = chat_tokenizer(model_max_length=16, lower=True, ends=True)
    config = SiglipConfig(text_config=_reader(tokenizer), vision_config=dict(_EYE))
    processor = SiglipImageProcessorPil(size={"height": SIDE, "width": SIDE})
    return save(folder, seed, SiglipModel, config, tokenizer, processor)


def siglip2(folder: Path, seed: int = 0) -> Path:
    """A SigLIP 2 of the kind that keeps the picture's proportions: up to 16 patches of 8 pixels."""
    tokenizer = siglip2_tokenizer()
    eye = {**_TOWER, "num_patches": 16, "patch_size": 8}
    config = Siglip2Config(text_config=_reader(tokenizer), vision_config=eye)
    processor = Siglip2ImageProcessorPil(patch_size=8, max_num_patches=16)
    return save(folder, seed, Siglip2Model, config, tokenizer, processor)


def smolvlm(folder: Path, seed: int = 0, *, ends: bool = False, repeats: float = 0) -> Path:
    """A SmolVLM, which transformers knows as Idefics3. With ``ends``, every fourth token ends a text; else hardly any.

    ``repeats`` above 0 makes a model that says the same token again and again, the more surely the larger it is.
    """
    tokenizer = chat_tokenizer(model_max_length=1024)
    config = Idefics3Config(**_vlm(tokenizer))
    if repeats:
        config.text_config.num_hidden_layers = 0
    save(folder, seed, Idefics3ForConditionalGeneration, config, tokenizer, splitting(Idefics3ImageProcessorPil, SIDE))
    _speak(folder, tokenizer, repeats)
    return add_chat(folder, tokenizer, "Idefics3Processor", VIEW_TOKENS, 4 if ends else None)


def smolvlm2(folder: Path, seed: int = 0, *, ends: bool = False) -> Path:
    """A SmolVLM2, whose processor classes the machine may be unable to load (they want torchvision)."""
    tokenizer = chat_tokenizer(model_max_length=1024)
    config = SmolVLMConfig(**_vlm(tokenizer))
    save(folder, seed, SmolVLMForConditionalGeneration, config, tokenizer, splitting(SmolVLMImageProcessorPil, SIDE))
    _speak(folder, tokenizer, 0)
    return add_chat(folder, tokenizer, "SmolVLMProcessor", VIEW_TOKENS, 4 if ends else None)


def llava(folder: Path, seed: int = 0) -> Path:
    """A LLaVA: a describing model that nothing here knows by name."""
    tokenizer = chat_tokenizer(model_max_length=512)
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(**_EYE),
        text_config=LlamaConfig(**_reader(tokenizer) | {"max_position_embeddings": 512}),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        image_seq_length=(SIDE // 8) ** 2,
    )
    processor = LlavaProcessor(
        clip_processor(SIDE),
        tokenizer,
        patch_size=8,
        vision_feature_select_strategy="default",
        chat_template=CHAT,
        num_additional_image_tokens=1,
    )
    save(folder, seed, LlavaForConditionalGeneration, config, processor)
    _speak(folder, tokenizer, 0)
    return add_chat(folder, tokenizer, "", 0, 9)


def captioner(folder: Path, seed: int = 0) -> Path:
    """A ViT with a GPT-2 behind it, which writes about pictures and takes no words."""
    tokenizer = chat_tokenizer()
    writer = GPT2Config(n_embd=32, n_layer=2, n_head=4, vocab_size=len(tokenizer), add_cross_attention=True)
    config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(ViTConfig(**_EYE), writer)
    images = ViTImageProcessorPil(size={"height": SIDE, "width": SIDE})
    return save(folder, seed, VisionEncoderDecoderModel, config, tokenizer, images)


def blip(folder: Path, seed: int = 0) -> Path:
    """A BLIP: it captions unasked, and its ``generate`` has words of its own."""
    tokenizer = bert_tokenizer()
    tokenizer.add_special_tokens({"bos_token": "[DEC]"})
    text = {**_TOWER, "vocab_size": len(tokenizer), "max_position_embeddings": 64, "encoder_hidden_size": 32}
    text |= {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": 2, "pad_token_id": 0, "sep_token_id": 3}
    config = BlipConfig(text_config=text, vision_config=dict(_EYE), projection_dim=32)
    images = BlipImageProcessorPil(size={"height": SIDE, "width": SIDE})
    return save(folder, seed, BlipForConditionalGeneration, config, BlipProcessor(images, tokenizer))


def git(folder: Path, seed: int = 0) -> Path:
    """A GIT: a language model that begins with a picture and no words. Each ninth token ends a text."""
    tokenizer = bert_tokenizer()
    config = GitConfig(
        vision_config=dict(_EYE),
        **_TOWER,
        vocab_size=len(tokenizer),
        max_position_embeddings=64,
        bos_token_id=2,
        eos_token_id=3,
        pad_token_id=0,
    )
    save(folder, seed, GitForCausalLM, config, GitProcessor(clip_processor(SIDE), tokenizer))
    ends = list(range(3, len(tokenizer), 9))
    GenerationConfig(bos_token_id=2, eos_token_id=ends, pad_token_id=0).save_pretrained(folder)
    return folder


def qwen(folder: Path, seed: int = 0) -> Path:
    """A Qwen2.5-VL: pictures of any size up to 64 tokens, and a processor that would take videos, too."""
    tokenizer = chat_tokenizer(model_max_length=512)
    names = ["<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>"]
    tokenizer.add_tokens(names, special_tokens=True)
    ids = dict(
        zip(("image", "video", "vision_start", "vision_end"), tokenizer.convert_tokens_to_ids(names), strict=True)
    )
    eye = {"depth": 2, "hidden_size": 32, "out_hidden_size": 32, "intermediate_size": 64, "num_heads": 4}
    config = Qwen2_5_VLConfig(
        vision_config={
            **eye,
            "patch_size": 8,
            "spatial_merge_size": 2,
            "window_size": 32,
            "fullatt_block_indexes": [1],
        },
        text_config={
            **_TOWER,
            "vocab_size": len(tokenizer),
            "num_key_value_heads": 4,
            "max_position_embeddings": 512,
            "rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10000.0},
        },
        **{f"{name}_token_id": ident for name, ident in ids.items()},
    )
    images = Qwen2VLImageProcessorPil(patch_size=8, merge_size=2, min_pixels=16 * 16, max_pixels=64 * 16 * 16)
    save(folder, seed, Qwen2_5_VLForConditionalGeneration, config, tokenizer, images)
    _speak(folder, tokenizer, 0)
    chat = CHAT.replace("<image>", "<|vision_start|><|image_pad|><|vision_end|>")
    (folder / "chat_template.jinja").write_text(chat)
    return add_chat(folder, tokenizer, "", 0, 9)


def bert(folder: Path, seed: int = 0, *, pooling: str = "mean") -> Path:
    """A sentence encoder in the layout of sentence-transformers; vectors have 32 numbers."""
    tokenizer = bert_tokenizer()
    config = BertConfig(**_TOWER, vocab_size=len(tokenizer), max_position_embeddings=64)
    save(folder, seed, BertModel, config, tokenizer)
    modules = [("0", "", "models.Transformer"), ("1", "1_Pooling", "models.Pooling"), ("2", "2_Normalize", "Normalize")]
    (folder / "modules.json").write_text(
        json.dumps([{"idx": int(n), "name": n, "path": p, "type": f"sentence_transformers.{t}"} for n, p, t in modules])
    )
    (folder / "1_Pooling").mkdir(exist_ok=True)
    mode = {"mean": "pooling_mode_mean_tokens", "cls": "pooling_mode_cls_token", "max": "pooling_mode_max_tokens"}
    (folder / "1_Pooling" / "config.json").write_text(
        json.dumps({"word_embedding_dimension": 32, **{key: name == pooling for name, key in mode.items()}})
    )
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 32, "do_lower_case": False}))
    return folder


def llama(folder: Path, seed: int = 0) -> Path:
    """A language model of text alone: what no step here takes."""
    tokenizer = chat_tokenizer()
    config = LlamaConfig(**_TOWER, vocab_size=len(tokenizer))
    return save(folder, seed, LlamaForCausalLM, config, tokenizer)


def _reader(tokenizer: Any) -> dict[str, Any]:
    """The text tower of an embedder."""
    return {
        **_TOWER,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": 16,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }


def _vlm(tokenizer: Any) -> dict[str, Any]:
    # No tied head: with one, a random model repeats the token before for ever.
    text = LlamaConfig(
        **_TOWER,
        vocab_size=len(tokenizer),
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        max_position_embeddings=1024,
        tie_word_embeddings=False,
    )
    return {
        "text_config": text.to_dict(),
        "vision_config": dict(_EYE),
        "scale_factor": 2,
        "image_token_id": tokenizer.convert_tokens_to_ids("<image>"),
        "pad_token_id": tokenizer.pad_token_id,
        "tie_word_embeddings": False,
    }


def splitting(kind: Any, side: int) -> Any:
    """An image processor of ``kind`` that makes views of ``side`` pixels, up to four by four."""
    return kind(size={"longest_edge": 4 * side}, max_image_size={"longest_edge": side})


def _speak(folder: Path, tokenizer: Any, repeats: float) -> None:
    """Makes a model say letters alone: the row of any other token becomes zeros, which are never the largest."""
    model = AutoModelForImageTextToText.from_pretrained(folder)
    with torch.no_grad():
        if repeats:
            model.lm_head.weight.copy_(model.get_input_embeddings().weight * repeats)
        for token in range(len(tokenizer)):
            if not tokenizer.decode([token]).strip().isalpha():
                model.lm_head.weight[token] = 0
    model.save_pretrained(folder)


def add_chat(folder: Path, tokenizer: Any, processor: str, tokens: int, end_every: int | None) -> Path:
    """What the folder of a chat model has beside image processor and tokenizer, unless its ``processor`` (a class's
    name, or "") saved itself; and which tokens end a text.

    ``tokens`` stand for a view of a picture. Each ``end_every``-th token ends a text, and none but the proper one does
    when it is None.
    """
    if processor:
        settings = {"image_seq_len": tokens, "processor_class": processor}
        (folder / "processor_config.json").write_text(json.dumps(settings))
        (folder / "chat_template.json").write_text(json.dumps({"chat_template": CHAT}))
    end = list(range(0, len(tokenizer), end_every)) if end_every else tokenizer.eos_token_id
    GenerationConfig(
        bos_token_id=tokenizer.bos_token_id, eos_token_id=end, pad_token_id=tokenizer.pad_token_id
    ).save_pretrained(folder)
    return folder


def save(folder: Path, seed: int, kind: Any, config: Any, *beside: Any) -> Path:
    """A model of ``kind`` with random weights, and what belongs beside it."""
    torch.manual_seed(seed)
    model = kind(config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            # Norms stay as they are. Everything else is drawn wide enough for its width that inputs matter.
            if weight.dim() > 1:
                weight.normal_(0, 1 if "embed" in name else 1.5 / weight.flatten(1).shape[1] ** 0.5)
    model.save_pretrained(folder)
    for part in beside:
        part.save_pretrained(folder)
    return folder
