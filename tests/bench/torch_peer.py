#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The model of bench_train_cuda in PyTorch under torch.compile, timed on the same work: bf16 products over fp32 weights (autocast),
fp32 gradients, scaled_dot_product_attention, fused AdamW. bench_train_cuda calls it; one JSON object a mode.

  torch_peer.py --layers 24 --hidden 2048 --heads 16 --ffn 5504 --vocab 80000 --length 4096 --micro-batch 4 --sequences 4 --steps 30

--heads and --ffn may be less than the hidden size asks for: one rank's slice of a tensor-parallel layer. Modes, the fastest counts:
  blocks           each layer compiled once and called for all, PyTorch's usual way for deep models
  reduce-overhead  the whole model, replayed as CUDA graphs
"""
import argparse
import json
import statistics
import sys
import time

try:
    import torch
    import torch.nn.functional as F
    from torch import nn
except ImportError as error:
    sys.exit(f"no PyTorch here ({error}); the peer is left out")


class Attention(nn.Module):
    def __init__(self, hidden, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(hidden, 3 * heads * 128, bias=False)
        self.out = nn.Linear(heads * 128, hidden, bias=False)

    def forward(self, x, cos, sin):
        batch, length, _ = x.shape
        q, k, v = self.qkv(x).view(batch, length, 3, self.heads, 128).unbind(2)

        def turn(part):
            low, high = part.chunk(2, dim=-1)
            return torch.cat((low * cos - high * sin, high * cos + low * sin), dim=-1).transpose(1, 2)

        y = F.scaled_dot_product_attention(turn(q), turn(k), v.transpose(1, 2), is_causal=True)
        return self.out(y.transpose(1, 2).reshape(batch, length, -1))


class Block(nn.Module):
    def __init__(self, hidden, heads, ffn):
        super().__init__()
        self.norm1 = nn.RMSNorm(hidden, eps=1e-5)
        self.attention = Attention(hidden, heads)
        self.norm2 = nn.RMSNorm(hidden, eps=1e-5)
        self.gate_up = nn.Linear(hidden, 2 * ffn, bias=False)
        self.down = nn.Linear(ffn, hidden, bias=False)

    def forward(self, x, cos, sin):
        x = x + self.attention(self.norm1(x), cos, sin)
        gate, up = self.gate_up(self.norm2(x)).chunk(2, dim=-1)
        return x + self.down(F.silu(gate) * up)


class Head(nn.Module):
    def __init__(self, hidden, vocab):
        super().__init__()
        self.norm = nn.RMSNorm(hidden, eps=1e-5)
        self.linear = nn.Linear(hidden, vocab, bias=False)

    def forward(self, x, targets):
        logits = self.linear(self.norm(x))
        return F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())


class Model(nn.Module):
    def __init__(self, args):
        super().__init__()
        self.embedding = nn.Embedding(args.vocab, args.hidden)
        self.blocks = nn.ModuleList(Block(args.hidden, args.heads, args.ffn) for _ in range(args.layers))
        self.head = Head(args.hidden, args.vocab)
        angle = torch.arange(args.length)[:, None] / 10000 ** (torch.arange(64) / 64)
        self.register_buffer("cos", angle.cos()[:, None].to(torch.bfloat16), persistent=False)
        self.register_buffer("sin", angle.sin()[:, None].to(torch.bfloat16), persistent=False)
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Embedding)):
                nn.init.trunc_normal_(module.weight, std=0.02, a=-0.04, b=0.04)

    def forward(self, inputs, targets):
        x = self.embedding(inputs).to(torch.bfloat16)
        for block in self.blocks:
            x = block(x, self.cos, self.sin)
        return self.head(x, targets)


def prepare(args, mode):
    torch.manual_seed(1)
    with torch.device("cuda"):
        model = Model(args)
    if mode == "blocks":
        for block in model.blocks:
            block.compile(fullgraph=True)
        model.head.compile()
        return model, model
    return model, torch.compile(model, mode=mode)


def measure(args, mode):
    model, compiled = prepare(args, mode)
    optimizer = None if args.no_optimizer else torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.0, fused=True)
    tokens = torch.randint(args.vocab, (2, args.sequences, args.length), device="cuda")
    batches = list(zip(tokens[0].split(args.micro_batch), tokens[1].split(args.micro_batch)))

    def step():
        for parameter in model.parameters():  # kept and cleared: graphs need the same memory each time
            if parameter.grad is not None:
                parameter.grad.zero_()
        total = 0.0
        for inputs, targets in batches:
            torch.compiler.cudagraph_mark_step_begin()
            with torch.autocast("cuda", torch.bfloat16):
                loss = compiled(inputs, targets) / len(batches)
            loss.backward()
            total += loss.detach().clone()
        if optimizer is not None:
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        return float(total)

    began = time.time()
    first = step()
    for _ in range(3):
        last = step()
    compile_s = time.time() - began
    times = []
    for _ in range(args.steps):
        torch.cuda.synchronize()
        start = time.perf_counter()
        last = step()
        torch.cuda.synchronize()
        times.append((time.perf_counter() - start) * 1e3)
    print(json.dumps({"bench": "torch_peer", "model": args.name, "mode": mode, "torch": torch.__version__, "layers": args.layers,
                      "steps": args.steps, "step_ms": statistics.median(times), "step_ms_least": min(times), "warmup_s": round(compile_s, 1),
                      "memory_bytes": torch.cuda.max_memory_allocated(), "loss_first": first, "loss_last": last}), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("layers", "hidden", "heads", "ffn", "vocab", "length", "micro-batch", "sequences"):
        parser.add_argument("--" + name, type=int, required=True)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--name", default="model")
    parser.add_argument("--no-optimizer", action="store_true")
    parser.add_argument("--modes", default="blocks,reduce-overhead")
    args = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("PyTorch sees no CUDA device; the peer is left out")
    torch.set_float32_matmul_precision("high")
    failures = 0
    for mode in args.modes.split(","):
        try:
            measure(args, mode)
        except Exception as error:  # out of memory in one mode must not hide the other
            failures += 1
            print(json.dumps({"bench": "torch_peer", "model": args.name, "mode": mode, "error": str(error).split("\n")[0][:300]}), flush=True)
        torch._dynamo.reset()
        torch.cuda.empty_cache()
    sys.exit(1 if failures == len(args.modes.split(",")) else 0)


if __name__ == "__main__":
    main()
