"""Models of a realistic size with random weights, through a real daemon: a ViT-B/32 CLIP and a 256M SmolVLM.

Random weights cost what trained ones cost; only what they say is nonsense. Texts end at random, after 32 tokens on
average, and what does not end in time is written again: as with trained ones, only more often.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

from bench.table import Row
from bench.work import distinct_photos
from tests.daemonkit import Daemon

MEAN_TOKENS = 32
MAX_TOKENS = 64


def run(folder: Path, photos: int, device: str = "auto") -> Iterator[Row]:
    """``photos`` photos of 512 px: one job, embeddings in its first pass, descriptions in its second."""
    began = time.perf_counter()
    clip, smolvlm = vit_b32(folder / "clip"), smolvlm_256m(folder / "smolvlm")
    yield Row("realistic: both checkpoints made", "", f"{time.perf_counter() - began:.0f} s")
    distinct_photos(folder / "photos", photos)
    with Daemon(folder / "home") as daemon:
        began = time.perf_counter()
        reply = daemon.call(
            "start",
            sources=[str(folder / "photos")],
            embed=str(clip),
            describe=str(smolvlm),
            max_tokens=MAX_TOKENS,
            device=device,
        )
        job = daemon.call("wait", 24 * 3600, job=reply["job"]["name"])["job"]
        wall = time.perf_counter() - began
        assert job["counts"]["done"] == photos == len(os.listdir(folder / "photos")), job
        for kind, name in (("embed", "ViT-B/32 CLIP"), ("describe", "256M SmolVLM")):
            yield of_step(daemon, kind, f"{name}, {photos} photos")
        daemon_peak = _peak(daemon.pid)
    yield Row("realistic: the whole job, its start and its models' loads", "", f"{wall:.0f} s")
    yield Row("realistic: the daemon itself", "", f"{daemon_peak / 1e6:.0f} MB at most")


def of_step(daemon: Daemon, kind: str, name: str) -> Row:
    """One step's rate between its first and its last commit, its forward time per item, its workers' memory."""
    rows = daemon.query("SELECT r.at, r.batch_id FROM result r JOIN step s ON s.id = r.step_id WHERE s.kind = ?", kind)
    times = sorted(at for at, _ in rows)
    later = sum(at > times[0] for at in times)
    each = f"{(times[-1] - times[0]) / 1000 / later:.3f} s an item" if later else "one group"
    batches = {batch for _, batch in rows}
    found = [daemon.query("SELECT peak_bytes, load_ms FROM batch WHERE id = ?", batch)[0] for batch in batches]
    peak, load = max(peak for peak, _ in found), sum(load for _, load in found) / len(found)
    ((forward,),) = daemon.query("SELECT sum(sum) / sum(n) FROM timing WHERE phase = ?", kind)
    loads = f"{len(batches)} workers, each loaded in {load / 1000:.1f} s"
    return Row(
        f"realistic: {kind}, {name}",
        "",
        f"{each} ({forward / 1000:.3f} s in the model); {peak / 1e6:.0f} MB at most in a worker; {loads}",
    )


def vit_b32(folder: Path) -> Path:
    """CLIP of the original's size (151M), which are the defaults of its configuration."""
    from transformers import CLIPConfig, CLIPModel

    from tests import tinymodels, tinytokens

    tokenizer = tinytokens.clip_tokenizer(77)
    ids = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")}
    config = CLIPConfig(text_config=ids, projection_dim=512)
    return tinymodels.save(folder, 0, CLIPModel, config, tokenizer, tinymodels.clip_processor(224))


def smolvlm_256m(folder: Path) -> Path:
    """SmolVLM-256M-Instruct's sizes: a SigLIP-base at 512 px, and SmolLM2-135M."""
    import torch
    from transformers import Idefics3Config, Idefics3ForConditionalGeneration, Idefics3ImageProcessorPil, LlamaConfig

    from tests import tinymodels, tinytokens

    tokenizer = tinytokens.chat_tokenizer(size=49_280, model_max_length=8192)
    text = LlamaConfig(
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        max_position_embeddings=8192,
        vocab_size=len(tokenizer),
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    vision = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
    config = Idefics3Config(
        text_config=text.to_dict(),
        vision_config={**vision, "image_size": 512, "patch_size": 16},
        scale_factor=4,
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=False,
        dtype=torch.bfloat16,
    )
    images = tinymodels.splitting(Idefics3ImageProcessorPil, 512)
    tinymodels.save(folder, 0, Idefics3ForConditionalGeneration, config, tokenizer, images)
    return tinymodels.add_chat(folder, tokenizer, "Idefics3Processor", 64, MEAN_TOKENS)


def _peak(pid: int) -> int:
    """The most memory that a process had, in bytes."""
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))
