"""What lies in a model's folder, checked without loading it: one clear sentence for whatever is wrong with it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from ingestd.errors import Misconfigured, Unavailable

_PICKLED: Final = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_OTHER: Final = (".gguf", ".h5", ".msgpack", ".onnx")

_LONGEST_HEADER: Final = 100_000_000
"""The safetensors format's own limit on its header."""

_TOKENIZERS: Final = (
    *("tokenizer.json", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model"),
    *("vocab.txt", "vocab.json", "tekken.json"),
)
"""Any of these holds a vocabulary."""

_BESIDE: Final = (
    *("config.json", "generation_config.json", "preprocessor_config.json", "processor_config.json"),
    *("chat_template.jinja", "chat_template.json", "tokenizer_config.json", "special_tokens_map.json"),
    *("modules.json", "sentence_bert_config.json", "config_sentence_transformers.json", "1_Pooling/config.json"),
)
"""What lies beside the weights and decides results: configuration, processor, tokenizer, chat template."""

_VOCABULARY: Final = (*_TOKENIZERS, "added_tokens.json", "merges.txt")
"""Of these, ``tokenizer.json`` alone decides where it is there."""

_SAYS_NOTHING: Final = ("_name_or_path", "transformers_version", "_commit_hash", "__version__")
"""Keys that change with whoever saved the file."""


@dataclass(frozen=True)
class Refusal:
    """Makes the errors of one request: ``kind`` of step and ``model`` as typed."""

    kind: str
    model: str

    def __call__(self, message: str, remedy: str) -> Misconfigured:
        return Misconfigured(message, operation="load", object=self._object, remedy=remedy)

    def unavailable(self, message: str, remedy: str) -> Unavailable:
        """For what may come right by itself."""
        return Unavailable(message, operation="load", object=self._object, remedy=remedy)

    @property
    def _object(self) -> str:
        return f"the {self.kind} model {self.model!r}"


@dataclass(frozen=True)
class ModelFolder:
    """A folder whose configuration can be read and whose weights are whole.

    ``weights`` are its safetensors files in order; ``parameters`` is how many numbers they hold.
    """

    path: Path
    config: dict[str, Any]
    weights: tuple[Path, ...]
    parameters: int

    def has(self, *names: str) -> bool:
        """Whether one of these files is there."""
        return any((self.path / name).is_file() for name in names)

    def json(self, name: str) -> Any:
        """A file's content; an empty dict when it is not there. Raises ``ValueError`` for one that is no JSON."""
        try:
            return msgspec.json.decode((self.path / name).read_bytes())
        except FileNotFoundError:
            return {}


def open_folder(path: Path, refuse: Refusal) -> ModelFolder:
    """Raises ``Misconfigured``: no ``config.json``, pickled weights, a missing or damaged weights file."""
    if not path.is_dir():
        raise refuse("there is no such folder", "Check the path")
    config = _config(path, refuse)
    weights = _weights(path, refuse)
    return ModelFolder(path, config, weights, sum(_parameters(file, refuse) for file in weights))


def need_tokenizer(folder: ModelFolder, refuse: Refusal) -> None:
    """Raises ``Misconfigured`` when no file of the folder holds a vocabulary."""
    if not folder.has(*_TOKENIZERS):
        raise refuse(f"{folder.path} has no tokenizer (tokenizer.json)", _WHOLE)


def need_image_processor(folder: ModelFolder, refuse: Refusal) -> None:
    """Raises ``Misconfigured`` when the folder does not say how pictures are prepared."""
    if not folder.has("preprocessor_config.json", "processor_config.json"):
        raise refuse(f"{folder.path} has no preprocessor_config.json: how pictures are prepared", _WHOLE)


def files_hash(folder: ModelFolder) -> str:
    """sha256 (hex) over what lies beside the weights and decides results; names of folders and versions left out."""
    vocabulary = ("tokenizer.json",) if folder.has("tokenizer.json") else _VOCABULARY
    found: dict[str, str] = {}
    for name in (*_BESIDE, *vocabulary):
        try:
            content = (folder.path / name).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            continue
        if name.endswith(".json") and name != "tokenizer.json":
            content = _telling(content)
        found[name] = hashlib.sha256(content).hexdigest()
    return hashlib.sha256(msgspec.json.encode(found, order="sorted")).hexdigest()


# ---------------------------------------------------------------------------------------------------------------------

_WHOLE: Final = "Fetch the model again, whole"


def _telling(content: bytes) -> bytes:
    """A JSON file's settings in one form, without what says nothing."""
    try:
        settings = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return content
    if isinstance(settings, dict):
        settings = {key: value for key, value in settings.items() if key not in _SAYS_NOTHING}
    return msgspec.json.encode(settings, order="sorted")


def _config(path: Path, refuse: Refusal) -> dict[str, Any]:
    try:
        config = msgspec.json.decode((path / "config.json").read_bytes())
    except FileNotFoundError:
        raise refuse(f"{path} has no config.json: it is no model folder of transformers", _WHOLE) from None
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise refuse(f"{path / 'config.json'} cannot be read: {error}", _WHOLE) from None
    if not isinstance(config, dict):
        raise refuse(f"{path / 'config.json'} holds no settings", _WHOLE)
    return config


def _weights(path: Path, refuse: Refusal) -> tuple[Path, ...]:
    single, index = path / "model.safetensors", path / "model.safetensors.index.json"
    if single.is_file():
        return (single,)
    if index.is_file():
        try:
            places = msgspec.json.decode(index.read_bytes())["weight_map"].values()
            shards = sorted({str(place) for place in places})
        except (msgspec.DecodeError, KeyError, AttributeError, TypeError):
            raise refuse(f"{index} names no weights files", _WHOLE) from None
        missing = [shard for shard in shards if not (path / shard).is_file()]
        if missing or not shards:
            raise refuse(f"{missing[0] if missing else 'every weights file'} is missing in {path}", _WHOLE)
        return tuple(path / shard for shard in shards)
    others = sorted(file.name for file in path.glob("*") if file.suffix in _PICKLED + _OTHER)
    pickled = [name for name in others if name.endswith(_PICKLED)]
    if pickled:
        raise refuse(
            f"its weights are pickled ({pickled[0]}): reading such a file can run any program, so only safetensors are "
            "read",
            "Choose a revision or a copy that has model.safetensors",
        )
    if others:
        raise refuse(f"its weights are in another format ({others[0]})", "Choose a copy that has model.safetensors")
    raise refuse(f"{path} has no weights (model.safetensors)", _WHOLE)


def _parameters(file: Path, refuse: Refusal) -> int:
    """How many numbers a safetensors file holds; its length is compared with what its header says."""
    damaged = f"{file} is damaged or was not fetched to its end"
    try:
        size = file.stat().st_size
        with file.open("rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
            if not 2 <= length <= min(_LONGEST_HEADER, size - 8):
                raise refuse(damaged, _WHOLE)
            header: Mapping[str, Any] = msgspec.json.decode(opened.read(length))
        tensors = [tensor for name, tensor in header.items() if name != "__metadata__"]
        end = max((tensor["data_offsets"][1] for tensor in tensors), default=0)
        if size != 8 + length + end:
            raise refuse(damaged, _WHOLE)
        return sum(math.prod(tensor["shape"]) for tensor in tensors)
    except OSError as error:
        raise refuse(f"{file} cannot be read: {error.strerror}", "Check its permissions and its disk") from None
    except (msgspec.DecodeError, KeyError, AttributeError, TypeError, IndexError, UnicodeDecodeError):
        raise refuse(damaged, _WHOLE) from None
