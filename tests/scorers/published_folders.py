"""Checkpoints in the layout in which others publish them: tiny, with random weights."""

import json
import string

import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import LlamaConfig, LlamaModel, MistralConfig, MistralModel, PreTrainedTokenizerFast, Qwen2Config
from transformers import Qwen2Model as Qwen2

QUESTION = "Ann has 3 apples and buys 4 more. How many?"
STEPS = ["She has 3 at first.", "3 + 4 = 7.", "So \\boxed{7}"]
SIZES = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
SIZES |= {"num_key_value_heads": 2, "max_position_embeddings": 512}
# The pre-tokeniser of Qwen2: punctuation takes the line ends that follow it along.
SPLIT = r"(?i:'s|'t)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LLAMA = (
    "{{ bos_token }}{% for m in messages %}<|start|>{{ m['role'] }}<|stop|>\n\n{{ m['content'] | trim }}<|eot|>"
    "{% endfor %}{% if add_generation_prompt %}<|start|>assistant<|stop|>\n\n{% endif %}"
)


def byte_level(*special, template=None, bos=None):
    """Return a tokenizer such as those of Qwen2 and Llama 3."""
    tokenizer = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(SPLIT), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=[*special], initial_alphabet=alphabet, show_progress=False
    )
    words = [QUESTION, *STEPS, "ends.\nwith\n", 'call({"a": 1})\n', "system user assistant\n\n"] * 3
    tokenizer.train_from_iterator([*words, ".\n", ")\n", "}\n"] * 3, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=bos, chat_template=template)


def sentencepiece():
    """Return a tokenizer such as Mistral's: spaces are part of words, what is unknown is spelt in bytes."""
    bytes_ = [f"<0x{i:02X}>" for i in range(256)]
    letters = ["▁", *string.ascii_letters, *string.digits, *".,:;=+-*/?!'\\{}()", "к", "и"]
    merges = [("к", "и"), ("▁", "ки"), ("▁", "+"), ("▁", "-"), ("S", "t"), ("St", "e"), ("Ste", "p")]
    pieces = ["<unk>", "<s>", "</s>", *bytes_, *letters, *("".join(pair) for pair in merges)]
    vocabulary = {piece: i for i, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in ("<unk>", "<s>", "</s>")])
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", vocabulary["<s>"])])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def write(folder, config, backbone, tokenizer, tensors, **more):
    """Write config.json, model.safetensors and a tokenizer; return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {f"model.{name}": tensor.contiguous() for name, tensor in backbone.state_dict().items()}
    save_file({**state, **tensors}, folder / "model.safetensors", metadata={"format": "pt"})
    plain = {**config.to_dict(), "dtype": "float32", **more}
    (folder / "config.json").write_text(json.dumps(plain))
    tokenizer.save_pretrained(folder)
    return folder


def _random(seed, **shapes):
    generator = torch.Generator().manual_seed(seed)
    # Small enough that no chance is nearly 0 or 1, where all that is wrong looks right.
    return {name.replace("__", "."): 0.2 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def _backbone(cls, config, seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return cls(config).eval()


def qwen(folder, *, special=("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<extra_0>"), **more):
    tokenizer = byte_level(*special, template=CHATML)
    config = Qwen2Config(vocab_size=len(tokenizer), **SIZES)
    head = _random(1, score__0__weight=(32, 32), score__0__bias=(32,), score__2__weight=(2, 32), score__2__bias=(2,))
    more = {"architectures": ["Qwen2ForProcessRewardModel"], "num_labels": 2, **more}
    return write(folder, config, _backbone(Qwen2, config), tokenizer, head, **more)


def skywork(folder, **more):
    tokenizer = byte_level("<|endoftext|>", bos="<|endoftext|>")
    config = Qwen2Config(vocab_size=len(tokenizer), **SIZES)
    head = _random(2, v_head__summary__weight=(1, 32), v_head__summary__bias=(1,), lm_head__weight=(len(tokenizer), 32))
    more = {"architectures": ["Qwen2ForPrmModel"], **more}
    return write(folder, config, _backbone(Qwen2, config), tokenizer, head, **more)


def shepherd(folder, **more):
    tokenizer = sentencepiece()
    config = MistralConfig(vocab_size=len(tokenizer), sliding_window=None, **SIZES)
    more = {"architectures": ["MistralForCausalLM"], **more}
    return write(
        folder,
        config,
        _backbone(MistralModel, config),
        tokenizer,
        _random(3, lm_head__weight=(len(tokenizer), 32)),
        **more,
    )


def rlhflow(folder, **more):
    tokenizer = byte_level("<|begin|>", "<|start|>", "<|stop|>", "<|eot|>", template=LLAMA, bos="<|begin|>")
    config = LlamaConfig(vocab_size=len(tokenizer), **SIZES)
    more = {"architectures": ["LlamaForCausalLM"], **more}
    return write(
        folder,
        config,
        _backbone(LlamaModel, config),
        tokenizer,
        _random(4, lm_head__weight=(len(tokenizer), 32)),
        **more,
    )


def token_classification(folder, *, bias=True, bos=None, id2label=None, **more):
    tokenizer = byte_level("<|endoftext|>", bos=bos)
    config = Qwen2Config(vocab_size=len(tokenizer), **SIZES)
    head = _random(5, score__weight=(2, 32), **({"score__bias": (2,)} if bias else {}))
    names = id2label or {"0": "LABEL_0", "1": "LABEL_1"}
    more = {"architectures": ["Qwen2ForTokenClassification"], "id2label": names, "use_cache": False, **more}
    return write(folder, config, _backbone(Qwen2, config), tokenizer, head, **more)


WRITERS = {
    "qwen": qwen,
    "skywork": skywork,
    "math_shepherd": shepherd,
    "rlhflow": rlhflow,
    "token_classification": token_classification,
}
