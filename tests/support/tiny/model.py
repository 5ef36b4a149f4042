"""Makes the tiny model: a byte-level tokenizer and a Llama of two layers, trained for some seconds, saved as any model is."""

from pathlib import Path
from random import Random

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from tests.support.tiny import words

CONTEXT = 8192
VOCABULARY = 400
STEPS = 350
BATCH = 16
LENGTH = 128
"""Longest text in training, in tokens."""


def make(folder: Path, seed: int = 0) -> Path:
    """Write the model into a folder and return it; takes about ten seconds of one core."""
    random = Random(seed)
    torch.manual_seed(seed)
    tokenizer = _tokenizer([words.text(random) for _ in range(500)])
    model = LlamaForCausalLM(_config(tokenizer))
    _train(model, tokenizer, random)
    tokenizer.save_pretrained(folder)
    model.generation_config = _generation(tokenizer)
    model.save_pretrained(folder)
    return folder


def _tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    backend.train_from_iterator([text for one in texts for text in _plain(one)], trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token=words.END, pad_token=words.PAD, model_max_length=CONTEXT)
    tokenizer.add_special_tokens({"additional_special_tokens": [words.START]})
    tokenizer.chat_template = words.TEMPLATE
    return tokenizer


def _plain(text: str) -> list[str]:
    for special in words.SPECIALS:
        text = text.replace(special, "\0")
    return text.split("\0")


def _config(tokenizer: PreTrainedTokenizerFast) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def _generation(tokenizer: PreTrainedTokenizerFast) -> GenerationConfig:
    """It never says a byte that is not ASCII, so that each token is a text of its own, as the suite counts them."""
    odd = [number for number in range(len(tokenizer)) if not _printable(tokenizer.decode([number]))]
    keep = {tokenizer.eos_token_id}
    return GenerationConfig(
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        suppress_tokens=[number for number in odd if number not in keep],
    )


def _printable(text: str) -> bool:
    return text.isascii() and all(char.isprintable() or char == "\n" for char in text) and text not in words.SPECIALS


def _train(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, random: Random) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # so small a model is slower on two
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=5e-3, total_steps=STEPS)
    for _ in range(STEPS):
        texts = [words.text(random) for _ in range(BATCH)]
        batch = tokenizer(texts, add_special_tokens=False, padding=True, truncation=True, max_length=LENGTH, return_tensors="pt")
        labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
        loss = model(**batch, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    torch.set_num_threads(threads)
    model.eval()
