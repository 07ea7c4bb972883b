#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A second opinion on loss and gradients: a Llama in plain PyTorch, in double precision.

usage: oracle_llama.py FOLDER BATCH OUT

FOLDER has config.json and model.safetensors (`telehelm-rank --export-hf`), BATCH is JSON {"inputs": [[…]], "targets": [[…]]}.
OUT becomes a safetensors file of the gradients of the mean loss, with the loss in its metadata.
"""
import json
import math
import struct
import sys

import torch


def read_safetensors(path):
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        data = bytearray(file.read())
    header.pop("__metadata__", None)
    tensors = {}
    for name, meta in header.items():
        begin, end = meta["data_offsets"]
        tensors[name] = torch.frombuffer(data[begin:end], dtype=torch.float32).reshape(meta["shape"]).double()
    return tensors


def write_safetensors(path, tensors, metadata):
    header, blobs, end = {"__metadata__": metadata}, [], 0
    for name, tensor in tensors.items():
        values = tensor.float().flatten().tolist()
        blobs.append(struct.pack(f"<{len(values)}f", *values))
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [end, end + 4 * len(values)]}
        end += 4 * len(values)
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def norm(x, weight, epsilon):
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + epsilon) * weight


def rope(x, theta):
    """x (B, H, T, D): pairs (i, i + D/2) turn by t · theta^(-2i/D)."""
    length, size = x.shape[-2:]
    angles = torch.arange(length).double()[:, None] * theta ** (-torch.arange(0, size, 2).double() / size)
    a, b = x[..., : size // 2], x[..., size // 2 :]
    return torch.cat([a * angles.cos() - b * angles.sin(), b * angles.cos() + a * angles.sin()], -1)


def attention(x, get, heads, theta):
    batch, length, hidden = x.shape
    split = lambda name: (x @ get(f"self_attn.{name}_proj").T).view(batch, length, heads, -1).transpose(1, 2)
    q, k, v = rope(split("q"), theta), rope(split("k"), theta), split("v")
    scores = q @ k.transpose(-1, -2) / math.sqrt(hidden // heads)
    future = torch.ones(length, length, dtype=torch.bool).triu(1)
    mixed = scores.masked_fill(future, -math.inf).softmax(-1) @ v
    return mixed.transpose(1, 2).reshape(batch, length, hidden) @ get("self_attn.o_proj").T


def ffn(x, get):
    return (torch.nn.functional.silu(x @ get("mlp.gate_proj").T) * (x @ get("mlp.up_proj").T)) @ get("mlp.down_proj").T


def loss_of(weights, config, inputs, targets):
    epsilon = config["rms_norm_eps"]
    x = weights["model.embed_tokens.weight"][inputs]
    for layer in range(config["num_hidden_layers"]):
        get = lambda name: weights[f"model.layers.{layer}.{name}.weight"]
        x = x + attention(norm(x, get("input_layernorm"), epsilon), get, config["num_attention_heads"], config["rope_theta"])
        x = x + ffn(norm(x, get("post_attention_layernorm"), epsilon), get)
    logits = norm(x, weights["model.norm.weight"], epsilon) @ weights["lm_head.weight"].T
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    folder, batch_path, out = sys.argv[1:]
    with open(folder + "/config.json") as file:
        config = json.load(file)
    with open(batch_path) as file:
        batch = json.load(file)
    weights = {name: tensor.requires_grad_() for name, tensor in read_safetensors(folder + "/model.safetensors").items()}
    loss = loss_of(weights, config, torch.tensor(batch["inputs"]), torch.tensor(batch["targets"]))
    loss.backward()
    write_safetensors(out, {name: tensor.grad for name, tensor in weights.items()}, {"loss": repr(loss.item())})


if __name__ == "__main__":
    main()
