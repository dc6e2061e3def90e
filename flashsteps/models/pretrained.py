"""A model of transformers, from a folder or the local cache, on a text. Nothing is fetched; no code of its own runs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import unknown
from ..inputs.readers import one_line
from .calls import Call

#: what of a tokenizer's answer a model is given
GIVEN = ("input_ids", "attention_mask", "token_type_ids")

#: the files that a tokenizer may be in
TOKENIZERS = ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "vocab.json", "tokenizer.model", "spiece.model")


@dataclass(frozen=True)
class Pretrained:
    """A model and its tokenizer, as transformers has them."""

    name: str
    model: Any
    tokenizer: Any

    def run(self, text: str, target: str | None = None) -> Tokens:
        """Run it on a text, without a gradient; a decoder that stands beside an encoder is given `target`.

        Raises ValueError, one line, for a text that it can't take.
        """
        import torch

        two = self.model.config.is_encoder_decoder
        if target is not None and not two:
            raise ValueError(
                f"{self.name!r} has no decoder beside an encoder, which target={target!r} is for: leave it out"
            )
        with one_line(f"{self.name!r} cannot be run on this text"), torch.no_grad():
            given = {name: x for name, x in self.tokenizer(text, return_tensors="pt").items() if name in GIVEN}
            most, count = getattr(self.model.config, "max_position_embeddings", None), given["input_ids"].shape[1]
            if not count or (most and count > most):
                raise ValueError(
                    f"it has {count} tokens, and the model takes {f'1 to {most}' if most else '1 or more'}"
                )
            of_keys, of_decoder = self._tokens(given["input_ids"][0]), None
            if two:
                ids = self.tokenizer(text if target is None else target, return_tensors="pt")["input_ids"]
                first = ids.new_full((1, 1), self.model.config.decoder_start_token_id)
                given["decoder_input_ids"] = torch.cat([first, ids[:, :-1]], dim=1)
                of_decoder = self._tokens(given["decoder_input_ids"][0])
            self.model(**given)
        return Tokens(of_keys, of_decoder)

    def _tokens(self, ids: Any) -> tuple[str, ...]:
        """Each token as it is read, without the space in front; where nothing can be read, as the vocabulary has it."""
        ids = [int(i) for i in ids]
        read = [self.tokenizer.decode([i]).strip() for i in ids]
        return tuple(
            word if word and "\ufffd" not in word else str(raw)
            for word, raw in zip(read, self.tokenizer.convert_ids_to_tokens(ids), strict=True)
        )


@dataclass(frozen=True)
class Tokens:
    """The tokens of a text; and those of a decoder beside, where there is one."""

    of_keys: tuple[str, ...]
    of_decoder: tuple[str, ...] | None = None

    def of(self, call: Call) -> tuple[str, ...] | None:
        """Those of a call, one for each key, or query, where these are more; None where they cannot be told."""
        if self.of_decoder is not None and call.module.split(".")[0] == "decoder":
            crosses = any(name in call.module.lower() for name in ("encdec", "encoder_attn", "cross"))
            longer = call.queries > call.keys
            found = self.of_keys if crosses and not longer else self.of_decoder
        else:
            found = self.of_keys
        return found if len(found) == max(call.queries, call.keys) else None


def load(name: str) -> Pretrained:
    """The model in a folder, or of this name in the local cache, with its attention as torch's own function.

    Only safetensors are read, and code that comes with a model is not run. Raises ValueError, one line, where there is
    no such model, or transformers is missing.
    """
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # read when it is imported
    try:
        import torch  # noqa: F401  # without it, transformers has no models
        import transformers
    except ImportError as missing:
        raise ValueError(f"{missing.name} is missing: pip install 'flashsteps[models]'") from None
    folder = _folder(name)
    only: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    with _quiet(transformers.utils.logging), one_line(f"{name!r} cannot be loaded"):
        model, how = transformers.AutoModel.from_pretrained(
            folder, use_safetensors=True, attn_implementation="sdpa", dtype="auto", output_loading_info=True, **only
        )
        if lost := sorted(key for key in how["missing_keys"] if "pooler" not in key):  # it comes after all attention
            raise ValueError(f"it lacks {len(lost)} weights, such as {lost[0]}")
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **only)
    return Pretrained(name, model.eval(), tokenizer)


def _folder(name: str) -> Path:
    """Where the model is: a folder, or that of its files in the local cache, so that there is nothing to ask for.

    Raises ValueError, one line, where there is no such model, or it is not all there.
    """
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    folder = Path(name)
    if folder.is_file():
        raise ValueError(f"{name!r} is a file: give the folder of a model")
    if not folder.is_dir():
        with suppress(HFValidationError):
            if isinstance(config := try_to_load_from_cache(name, "config.json"), str):
                folder = Path(config).parent
    if not folder.is_dir():
        if name.startswith((".", os.sep)) or not (cached := _cached()):
            raise ValueError(
                f"{name!r}: no such folder, and no model of that name in the local cache: nothing is fetched"
            )
        raise ValueError(f"{unknown('model', name, cached)}; nothing is fetched")
    if not (folder / "config.json").is_file():
        raise ValueError(f"{name!r} has no config.json: give a folder that model.save_pretrained({name!r}) writes")
    if not list(folder.glob("*.safetensors")):
        raise ValueError(
            f"{name!r} has no .safetensors, and no pickle is read: model.save_pretrained({name!r}) writes them"
        )
    if not any((folder / one).exists() for one in TOKENIZERS):
        raise ValueError(f"{name!r} has no tokenizer: tokenizer.save_pretrained({name!r}) writes it")
    return folder


def _cached() -> list[str]:
    """The models in the local cache."""
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        return sorted(repo.repo_id for repo in scan_cache_dir().repos if repo.repo_type == "model")
    except CacheNotFound:
        return []


@contextmanager
def _quiet(logging: Any) -> Iterator[None]:
    """Without transformers' own words and bars."""
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
