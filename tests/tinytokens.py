"""Trains the small tokenizers of the checkpoints in ``tinymodels``, on a few sentences."""

from __future__ import annotations

import json
from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import BertTokenizer, CLIPTokenizer, PreTrainedTokenizerFast, Siglip2Tokenizer

SENTENCES = [
    "a photo of a cat on a red sofa",
    "two dogs run along the beach in the evening",
    "describe this photo in one or two sentences",
    "a cup of coffee on a wooden table near the window",
    "the rocket stands on its pad under a blue sky",
    "what is in the picture and where was it taken",
    "mountains behind a lake with a small white boat",
]


def clip_tokenizer(longest: int) -> Any:
    """Lower-case byte pairs with an end mark on words, as CLIP's; ``longest`` is in tokens."""
    bpe = Tokenizer(models.BPE(end_of_word_suffix="</w>", unk_token="<|endoftext|>"))
    bpe.normalizer = normalizers.Lowercase()
    bpe.pre_tokenizer = pre_tokenizers.Whitespace()
    bpe.train_from_iterator(
        SENTENCES,
        trainers.BpeTrainer(
            vocab_size=200,
            special_tokens=["<|startoftext|>", "<|endoftext|>"],
            end_of_word_suffix="</w>",
            show_progress=False,
        ),
    )
    learnt = json.loads(bpe.to_str())["model"]
    merges = [tuple(pair) for pair in learnt["merges"]]
    return CLIPTokenizer(vocab=learnt["vocab"], merges=merges, model_max_length=longest)


def siglip2_tokenizer() -> Siglip2Tokenizer:
    """BPE that falls back to bytes, as SigLIP 2 has it."""
    bpe = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
    bpe.normalizer = normalizers.Replace(" ", "▁")
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", *(f"<0x{byte:02X}>" for byte in range(256))]
    bpe.train_from_iterator(SENTENCES, trainers.BpeTrainer(vocab_size=420, special_tokens=special, show_progress=False))
    learnt = json.loads(bpe.to_str())["model"]
    return Siglip2Tokenizer(vocab=learnt["vocab"], merges=[tuple(pair) for pair in learnt["merges"]])


def bert_tokenizer() -> BertTokenizer:
    """Word pieces."""
    words = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    words.normalizer = normalizers.BertNormalizer()
    words.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words.train_from_iterator(
        SENTENCES, trainers.WordPieceTrainer(vocab_size=200, special_tokens=special, show_progress=False)
    )
    return BertTokenizer(vocab=words.get_vocab(), model_max_length=64)


def chat_tokenizer(
    *, lower: bool = False, ends: bool = False, size: int = 0, **options: Any
) -> PreTrainedTokenizerFast:
    """Byte-level BPE with the special tokens of SmolVLM.

    ``ends``: an end token follows every text. ``size``: so many tokens in all, made-up words that no text has.
    """
    bpe = Tokenizer(models.BPE())
    if lower:
        bpe.normalizer = normalizers.Lowercase()
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    places = [f"<row_{row}_col_{col}>" for row in range(1, 7) for col in range(1, 7)]
    special = ["<|im_start|>", "<|im_end|>", "<end_of_utterance>", "<fake_token_around_image>", "<image>"]
    special += ["<global-img>", *places]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(
        SENTENCES,
        trainers.BpeTrainer(vocab_size=420, special_tokens=special, initial_alphabet=alphabet, show_progress=False),
    )
    if size:
        whole = json.loads(bpe.to_str())
        vocabulary = whole["model"]["vocab"]
        for number in range(len(vocabulary), size):
            vocabulary["Ġ" + "".join(chr(97 + int(digit)) for digit in f"{number:05}")] = number
        bpe = Tokenizer.from_str(json.dumps(whole))
    if ends:
        end = bpe.token_to_id("<end_of_utterance>")
        bpe.post_processor = processors.TemplateProcessing(
            single="$A <end_of_utterance>", special_tokens=[("<end_of_utterance>", end)]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token="<|im_start|>",
        eos_token="<end_of_utterance>",
        pad_token="<|im_end|>",
        extra_special_tokens=["<fake_token_around_image>", "<image>", "<global-img>", *places],
        **options,
    )
