"""Writes a tiny checkpoint that recites: greedy decoding answers the nth request of a conversation with the nth text,
whatever the prompt. So calls of tools, thoughts and schemas can be shown end to end, and the server knows nothing of it.

Run: python3 make_checkpoint.py OUT_FOLDER TEXT_FILE...      (needs nothing but Python)

How: the texts are cut into pieces of which none comes twice, and each piece is a token. A token's embedding is a random
row of plus and minus ones; the output row of the piece that follows it is the same row, so that its logit is far above
all others. The layers between (Qwen3's mixture of experts) have small random weights: they compute and are exchanged,
and shift the logits a little. The chat template ends a prompt with a token for the answer whose turn it is.
"""
import array
import json
import pathlib
import random
import struct
import sys

HIDDEN, HEADS, KV_HEADS, HEAD_DIM, LAYERS, EXPERTS, EXPERT_DIM = 256, 4, 2, 64, 2, 8, 64
END = "<|end|>"

TEMPLATE = """\
{%- if tools %}<|tools|>{{ tools | tojson }}{% endif %}
{%- set ns = namespace(answers=0) %}
{%- for message in messages %}
{%- if message.role == 'assistant' %}{% set ns.answers = ns.answers + 1 %}{% endif %}
{{- '<|' + message.role + '|>' + (message.content or '') }}
{%- for call in message.tool_calls or [] %}
{{- '<tool_call>' + (call.function | tojson) + '</tool_call>' }}
{%- endfor %}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|recite_' ~ (ns.answers % N_TEXTS) ~ '|>' }}{% endif %}
{#- Answers may begin with <think>...</think>. #}"""


def pieces_of(text, used):
    """Cuts `text` into pieces that are not in `used` yet, and adds them."""
    pieces, begin = [], 0
    for end in range(1, len(text) + 1):
        if text[begin:end] not in used:
            used.add(text[begin:end])
            pieces.append(text[begin:end])
            begin = end
    rest = text[begin:]
    while rest and rest in used:
        rest = pieces.pop() + rest  # what was cut off stays used, by nobody
    if rest:
        used.add(rest)
        pieces.append(rest)
    return pieces


def byte_letters():
    """Byte-level BPE's letter for each byte."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(b) if b in plain else chr(next(others)) for b in range(256)]


def bf16(values):
    data = array.array("f", values).tobytes()
    out = bytearray(len(data) // 2)
    out[0::2], out[1::2] = data[2::4], data[3::4]
    return bytes(out)


def small(rng, *shape):
    n = 1
    for size in shape:
        n *= size
    return shape, bf16(rng.gauss(0, 0.03) for _ in range(n))


def ones(n):
    return (n,), bf16([1.0] * n)


def layer(rng, number):
    name = f"model.layers.{number}."
    yield name + "input_layernorm.weight", ones(HIDDEN)
    yield name + "post_attention_layernorm.weight", ones(HIDDEN)
    yield name + "self_attn.q_proj.weight", small(rng, HEADS * HEAD_DIM, HIDDEN)
    yield name + "self_attn.k_proj.weight", small(rng, KV_HEADS * HEAD_DIM, HIDDEN)
    yield name + "self_attn.v_proj.weight", small(rng, KV_HEADS * HEAD_DIM, HIDDEN)
    yield name + "self_attn.o_proj.weight", small(rng, HIDDEN, HEADS * HEAD_DIM)
    yield name + "self_attn.q_norm.weight", ones(HEAD_DIM)
    yield name + "self_attn.k_norm.weight", ones(HEAD_DIM)
    yield name + "mlp.gate.weight", small(rng, EXPERTS, HIDDEN)
    for expert in range(EXPERTS):
        yield name + f"mlp.experts.{expert}.gate_proj.weight", small(rng, EXPERT_DIM, HIDDEN)
        yield name + f"mlp.experts.{expert}.up_proj.weight", small(rng, EXPERT_DIM, HIDDEN)
        yield name + f"mlp.experts.{expert}.down_proj.weight", small(rng, HIDDEN, EXPERT_DIM)


def tensors(n_tokens, before):
    """`before`: of each token that is recited those that it follows; an end may follow several."""
    rng = random.Random(20261127)
    rows = [[1.0 if bits >> i & 1 else -1.0 for i in range(HIDDEN)] for bits in (rng.getrandbits(HIDDEN) for _ in range(n_tokens))]
    outputs = [[0.0] * HIDDEN] * n_tokens
    for after, tokens in before.items():
        outputs[after] = [sum(column) for column in zip(*(rows[token] for token in tokens))]
    yield "model.embed_tokens.weight", ((n_tokens, HIDDEN), b"".join(map(bf16, rows)))
    for number in range(LAYERS):
        yield from layer(rng, number)
    yield "model.norm.weight", ones(HIDDEN)
    yield "lm_head.weight", ((n_tokens, HIDDEN), b"".join(map(bf16, outputs)))


def write_safetensors(path, named):
    header, blobs, at = {}, [], 0
    for name, (shape, data) in named:
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [at, at + len(data)]}
        blobs.append(data)
        at += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def main(out, texts):
    letters = byte_letters()
    spelt = lambda piece: "".join(letters[b] for b in piece.encode())
    vocab = {letters[b]: b for b in range(256)}
    used, recitals = set(), []
    for text in texts:
        recitals.append([vocab.setdefault(spelt(piece), len(vocab)) for piece in pieces_of(text, used)])
    begins = [f"<|recite_{number}|>" for number in range(len(texts))]
    added = {token: len(vocab) + number for number, token in enumerate([END, "<|tools|>", *begins])}
    before = {}
    for begin, ids in zip(begins, recitals):
        row = [added[begin], *ids, added[END]]
        for token, after in zip(row, row[1:]):
            before.setdefault(after, []).append(token)
    n_tokens = len(vocab) + len(added)
    out.mkdir(parents=True, exist_ok=True)
    write_safetensors(out / "model.safetensors", tensors(n_tokens, before))
    write = lambda name, content: (out / name).write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n")
    write("config.json", {
        "architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "hidden_size": HIDDEN, "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS, "head_dim": HEAD_DIM, "num_hidden_layers": LAYERS, "num_experts": EXPERTS,
        "num_experts_per_tok": 2, "norm_topk_prob": True, "moe_intermediate_size": EXPERT_DIM, "intermediate_size": EXPERT_DIM,
        "decoder_sparse_step": 1, "mlp_only_layers": [], "hidden_act": "silu", "rms_norm_eps": 1e-6, "rope_theta": 10000.0,
        "max_position_embeddings": 32768, "attention_bias": False, "tie_word_embeddings": False, "torch_dtype": "bfloat16",
        "eos_token_id": added[END], "vocab_size": n_tokens})
    write("generation_config.json", {"eos_token_id": added[END], "do_sample": False})
    special = [{"id": i, "content": t, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
               for t, i in added.items()]
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    write("tokenizer.json", {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": special, "normalizer": None, "pre_tokenizer": level,
        "post_processor": None, "decoder": level,
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
                  "fuse_unk": False, "byte_fallback": False, "vocab": vocab, "merges": []}})
    write("tokenizer_config.json", {"eos_token": END})
    (out / "chat_template.jinja").write_text(TEMPLATE.replace("N_TEXTS", str(len(texts))))
    print(f"{out}: {len(texts)} texts, {sum(map(len, recitals))} tokens, a vocabulary of {n_tokens}")


if len(sys.argv) < 3:
    sys.exit(__doc__)
main(pathlib.Path(sys.argv[1]), [pathlib.Path(name).read_text() for name in sys.argv[2:]])
