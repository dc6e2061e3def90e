"""Real checkpoints of tiny models with random weights, and a tokenizer that knows one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

SENTENCE = "The animal didn't cross the street because it was too tired."
MARKS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
READ = ("the", "animal", "didn", "'", "t", "cross", "the", "street", "because", "it", "was", "too", "tir", "##ed", ".")
WORDS = tuple(dict.fromkeys(MARKS + READ))
TOKENS = ("[CLS]", *READ, "[SEP]")

_SIZES: dict[str, Any] = {"vocab_size": len(WORDS), "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
_LLAMA = _SIZES | {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
CONFIGS: dict[str, Any] = {
    "gpt2": lambda: transformers.GPT2Config(n_layer=2, n_embd=32, n_head=4, n_positions=32, **_SIZES),
    "llama": lambda: transformers.LlamaConfig(num_key_value_heads=2, **_LLAMA),
    "bert": lambda: transformers.BertConfig(**_LLAMA),
    "t5": lambda: transformers.T5Config(
        d_model=32, d_kv=8, num_heads=4, num_layers=2, d_ff=48, decoder_start_token_id=0, **_SIZES
    ),
    "mistral": lambda: transformers.MistralConfig(num_key_value_heads=2, sliding_window=5, **_LLAMA),
}


def tokenizer() -> Any:
    """Words and parts of words, in lower case, with a mark at either end."""
    own = Tokenizer(models.WordPiece({word: n for n, word in enumerate(WORDS)}, unk_token="[UNK]"))
    own.normalizer = normalizers.Lowercase()
    own.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    own.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    own.decoder = decoders.WordPiece(cleanup=False)
    marks = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    return transformers.PreTrainedTokenizerFast(tokenizer_object=own, **marks)


def write(folder: Path, kind: str, dtype: Any = torch.float32) -> Path:
    """Save a model of this kind, whose scores are neither all alike nor huge, and its tokenizer."""
    torch.manual_seed(0)
    model = transformers.AutoModel.from_config(CONFIGS[kind]())
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() == 2:
                weight.normal_(0, 0.25)
    model.to(dtype).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder
