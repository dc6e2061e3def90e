"""Real checkpoints of tiny models with random weights, and a tokenizer that knows one sentence.

transformers takes seconds to import: only who makes one does.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

SENTENCE = "The animal didn't cross the street because it was too tired."
MARKS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
READ = ("the", "animal", "didn", "'", "t", "cross", "the", "street", "because", "it", "was", "too", "tir", "##ed", ".")
WORDS = tuple(dict.fromkeys(MARKS + READ))
TOKENS = ("[CLS]", *READ, "[SEP]")

_SIZES: dict[str, Any] = {"vocab_size": len(WORDS), "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
_GPT = {"n_layer": 2, "n_embd": 32, "n_head": 4, "n_positions": 32}
_BERT = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
_T5 = {"d_model": 32, "d_kv": 8, "num_heads": 4, "num_layers": 2, "d_ff": 48, "decoder_start_token_id": 0}
CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": ("GPT2Config", _SIZES | _GPT),
    "llama": ("LlamaConfig", _SIZES | _BERT | {"num_key_value_heads": 2}),
    "bert": ("BertConfig", _SIZES | _BERT),
    "t5": ("T5Config", _SIZES | _T5),
    "mistral": ("MistralConfig", _SIZES | _BERT | {"num_key_value_heads": 2, "sliding_window": 5}),
}


def tokenizer() -> Any:
    """Words and parts of words, in lower case, with a mark at either end."""
    tokenizers, transformers = importlib.import_module("tokenizers"), importlib.import_module("transformers")
    pieces = tokenizers.models.WordPiece({word: n for n, word in enumerate(WORDS)}, unk_token="[UNK]")
    own = tokenizers.Tokenizer(pieces)
    own.normalizer = tokenizers.normalizers.Lowercase()
    own.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    own.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    own.decoder = tokenizers.decoders.WordPiece(cleanup=False)
    marks = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    return transformers.PreTrainedTokenizerFast(tokenizer_object=own, **marks)


def write(folder: Path, kind: str, dtype: str = "float32") -> Path:
    """Save a model of this kind, whose scores are neither all alike nor huge, and its tokenizer."""
    torch, transformers = importlib.import_module("torch"), importlib.import_module("transformers")
    torch.manual_seed(0)
    name, sizes = CONFIGS[kind]
    model = transformers.AutoModel.from_config(getattr(transformers, name)(**sizes))
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() == 2:
                weight.normal_(0, 0.25)
    model.to(getattr(torch, dtype)).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder
