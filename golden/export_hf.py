#!/usr/bin/env python3
"""Computes a golden with Hugging Face transformers, for mlbench to verify against.

Runs a checkpoint of one of the architectures that mlbench knows (Llama, Orion, OLMo, Phi, GPT BigCode) in float64 on
the CPU and writes inputs, logits and the values on the way to an HDF5 file in the layout of docs/verify.md. Written for
transformers 4.40 to 5; needs torch, transformers, h5py and numpy. With --check, needs h5py and numpy only.

transformers uses float32 in some places whatever the model's type: norms, softmax, rotary angles. While the model runs,
every request for float32 is turned into one for float64; the attribute float64_patches lists where that happened, and
says of any value that was float32 all the same.
"""

import argparse
import copy
import os
import re
import sys

EXAMPLES = """examples:
  export_hf.py --model CHECKPOINT --out golden.h5 --prompt-length 16 --batch 2 --steps 4 --ragged 12,40,1
  export_hf.py --model CHECKPOINT --out golden.h5 --prompt-ids 1,15,27 --prompt-ids 1,3,9
  export_hf.py --check golden.h5
"""

CLASSES = ("LlamaForCausalLM", "OrionForCausalLM", "OlmoForCausalLM", "PhiForCausalLM", "GPTBigCodeForCausalLM")

# ---- the layout: which modules' outputs are kept, under their own names ----

GLOBAL_MODULES = {
    "model.embed_tokens", "transformer.wte", "transformer.wpe", "transformer.drop", "model.norm",
    "model.final_layernorm", "transformer.ln_f", "lm_head",
}
LAYER_MODULES = {
    "", "input_layernorm", "post_attention_layernorm", "ln_1", "ln_2",
    "self_attn", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "self_attn.dense",
    "self_attn.q_layernorm", "self_attn.k_layernorm", "attn", "attn.c_attn", "attn.c_proj",
    "mlp", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj", "mlp.fc1", "mlp.fc2", "mlp.c_fc", "mlp.c_proj",
    "mlp.act_fn", "mlp.activation_fn", "mlp.act",
}
# Values that are no module's output.
GLOBAL_VALUES = {"model.rotary_emb.cos", "model.rotary_emb.sin", "logits"}
LAYER_VALUES = {
    "self_attn.q_rope", "self_attn.k_rope", "self_attn.v", "self_attn.attn_probs", "self_attn.attn_out",
    "attn.q", "attn.k", "attn.v", "attn.attn_probs", "attn.attn_out",
}
# The second name of a value: stored once, and linked where the values are the same.
SECOND_NAMES = {
    "self_attn": ("self_attn.o_proj", "self_attn.dense"), "attn": ("attn.c_proj",),
    "mlp": ("mlp.down_proj", "mlp.fc2", "mlp.c_proj"), "logits": ("lm_head",),
}
HEADS = re.compile(r"\.(q_rope|k_rope|v|q|k|attn_probs|q_layernorm|k_layernorm)$")
LAYER = re.compile(r"^((?:model\.layers|transformer\.h)\.(?:0|[1-9][0-9]*))(?:\.(.+))?$")


def split_name(name):
    """'model.layers.0.mlp' -> ('model.layers.0', 'mlp'); ('', name) outside the layers."""
    match = LAYER.match(name)
    return (match.group(1), match.group(2) or "") if match else ("", name)


def is_kept_module(name):
    layer, rest = split_name(name)
    return rest in LAYER_MODULES if layer else name in GLOBAL_MODULES


def is_known_name(name):
    layer, rest = split_name(name)
    return rest in LAYER_MODULES | LAYER_VALUES if layer else name in GLOBAL_MODULES | GLOBAL_VALUES


# ---- float64 throughout ----

def float64_mode(torch):
    """A mode in which torch gives float64 where float32 is asked for; .patches says where that was.

    It sees every call of a torch function or method from Python, and no names of transformers': it does not depend on
    their version. What it cannot see is a type that compiled code has fixed; the Recorder finds those by their result.
    """
    from torch.overrides import TorchFunctionMode

    def caller():
        frame = sys._getframe(2)
        while frame is not None:
            module = frame.f_globals.get("__name__", "")
            if not module.startswith("torch") and module != __name__:
                code = frame.f_code
                return f"{module.rpartition('.')[2]}.{getattr(code, 'co_qualname', code.co_name)}"
            frame = frame.f_back
        return "?"

    class Float64Mode(TorchFunctionMode):
        def __init__(self):
            super().__init__()
            self.patches = set()

        def __torch_function__(self, func, types, args=(), kwargs=None):
            kwargs = kwargs or {}
            if func is torch.Tensor.float:
                self.patches.add(f"{caller()}: float() -> double()")
                return torch.Tensor.double(*args, **kwargs)
            if any(a is torch.float32 for a in args) or any(a is torch.float32 for a in kwargs.values()):
                self.patches.add(f"{caller()}: {getattr(func, '__name__', func)} float32 -> float64")
                args = tuple(torch.float64 if a is torch.float32 else a for a in args)
                kwargs = {k: torch.float64 if a is torch.float32 else a for k, a in kwargs.items()}
            return func(*args, **kwargs)

    return Float64Mode()


# ---- the model ----

def load_config(transformers, args):
    import json
    with open(os.path.join(args.model, "config.json"), encoding="utf-8") as file:
        fields = json.load(file)
    name = (fields.get("architectures") or ["?"])[0]
    if name not in CLASSES:
        raise SystemExit(f"export_hf.py: {args.model}: architecture {name}: must be one of {', '.join(CLASSES)}")
    if name == "OrionForCausalLM" and not args.trust_remote_code:
        for key in ("auto_map", "model_type", "architectures"):
            fields.pop(key, None)
        return name, transformers.LlamaConfig(**fields)
    return name, transformers.AutoConfig.from_pretrained(args.model, trust_remote_code=args.trust_remote_code)


def type_keyword(transformers):
    major, minor = (int(part) for part in transformers.__version__.split(".")[:2])
    return "dtype" if (major, minor) >= (4, 56) else "torch_dtype"


def orion_as_llama(torch, transformers, config, folder, mode):
    """Orion is not part of transformers: it is Llama with LayerNorm (weight and bias) in place of RMSNorm."""
    import glob
    from safetensors.torch import load_file
    config._attn_implementation = "eager"
    with mode:  # for the rotary frequencies
        model = transformers.LlamaForCausalLM(config)
    for owner, name in [(model.model, "norm")] + [
            (layer, name) for layer in model.model.layers for name in ("input_layernorm", "post_attention_layernorm")]:
        setattr(owner, name, torch.nn.LayerNorm(config.hidden_size, eps=config.rms_norm_eps))
    model = model.to(torch.float64)
    files = sorted(glob.glob(os.path.join(folder, "*.safetensors")))
    if not files:
        raise SystemExit(f"export_hf.py: {folder}: no *.safetensors")
    state = {}
    for file in files:  # outside the mode: here float32 says how bytes are to be read
        state.update(load_file(file))
    state = {name: value for name, value in state.items() if not name.endswith("rotary_emb.inv_freq")}
    if config.tie_word_embeddings:
        state.setdefault("lm_head.weight", state["model.embed_tokens.weight"])
    model.load_state_dict(state)  # copies into float64, which is exact
    return model


def rotary_modules(model):
    return {name: m for name, m in model.named_modules() if type(m).__name__.endswith("RotaryEmbedding")}


def renew_rotary(transformers, model, config, mode, args):
    """Puts rotary modules in the model that were made in float64; those it was loaded with are rounded."""
    if not rotary_modules(model):
        return
    small = copy.deepcopy(config)
    small.num_hidden_layers = 1
    setattr(small, type_keyword(transformers), next(model.parameters()).dtype)
    with mode:
        made = transformers.AutoModelForCausalLM.from_config(small, attn_implementation="eager",
                                                             trust_remote_code=args.trust_remote_code)
    made = rotary_modules(made)
    for name in rotary_modules(model):
        source = re.sub(r"\.layers\.\d+\.", ".layers.0.", name)
        parent, _, attribute = name.rpartition(".")
        setattr(model.get_submodule(parent), attribute, made[source])


def load_model(torch, transformers, args, mode):
    name, config = load_config(transformers, args)
    torch.set_default_dtype(torch.float64)
    if name == "GPTBigCodeForCausalLM":  # the softmax's type is a field there
        config.attention_softmax_in_fp32 = False
        config.scale_attention_softmax_in_fp32 = False
    if name == "OrionForCausalLM" and not args.trust_remote_code:
        model = orion_as_llama(torch, transformers, config, args.model, mode)
        code = "LlamaForCausalLM with LayerNorm in place of RMSNorm"
    else:
        model = transformers.AutoModelForCausalLM.from_pretrained(
            args.model, config=config, attn_implementation="eager", trust_remote_code=args.trust_remote_code,
            **{type_keyword(transformers): torch.float64})
        renew_rotary(transformers, model, config, mode, args)
        code = type(model).__name__
    for parameter, value in model.named_parameters():
        if value.dtype != torch.float64:
            raise SystemExit(f"export_hf.py: {parameter} was loaded as {value.dtype}, not float64")
    return name, code, model.eval()


# ---- taking values out of a running model ----

class Recorder:
    """Keeps what one call of the model computes, by name, as float64 arrays."""

    def __init__(self, torch, model):
        self.torch, self.config = torch, model.config
        self.modeling = sys.modules[type(model).__module__]
        self.values, self.rounded = {}, set()
        self.attention = None  # name of the attention module that is running
        self.length = 0        # of the call, in tokens
        for name, module in model.named_modules():
            if is_kept_module(name):
                module.register_forward_hook(self.output_hook(name))
            if name.endswith((".self_attn", ".attn")):
                module.register_forward_pre_hook(self.attention_hook(name))
            if name.endswith((".self_attn.o_proj", ".self_attn.dense", ".attn.c_proj")):
                module.register_forward_pre_hook(self.context_hook(name.rpartition(".")[0]))
            if type(module).__name__.endswith("RotaryEmbedding"):
                module.register_forward_hook(self.rotary_hook)
        if hasattr(self.modeling, "apply_rotary_pos_emb"):
            self.modeling.apply_rotary_pos_emb = self.wrapped_rotation(self.modeling.apply_rotary_pos_emb)

    def begin(self, length):
        self.values, self.length = {}, length

    def keep(self, name, tensor):
        if tensor.dtype != self.torch.float64:
            self.rounded.add(name)
        self.values[name] = tensor.detach().cpu().to(self.torch.float64).numpy().copy()

    def attention_hook(self, name):
        def hook(module, args):
            self.attention = name
        return hook

    def context_hook(self, attention):
        def hook(module, args):
            self.keep(attention + ".attn_out", args[0].reshape(args[0].shape[0], self.length, -1))
        return hook

    def output_hook(self, name):
        def hook(module, args, output):
            first = output[0] if isinstance(output, tuple) else output
            self.keep(name, first)
            if name.endswith((".self_attn", ".attn")):
                self.keep_probabilities(name, output)
            if name.endswith(".attn.c_attn"):
                self.keep_parts(name.rpartition(".")[0], first)
            clip = getattr(self.config, "clip_qkv", None)
            if name.endswith(".v_proj") and clip is not None:
                self.keep(name.rpartition(".")[0] + ".v", self.heads(first.clamp(-clip, clip)))
        return hook

    def heads(self, tensor):
        """[batch, seq, heads * head size] -> [batch, heads, seq, head size]"""
        size = getattr(self.config, "head_dim", None) or self.config.hidden_size // self.config.num_attention_heads
        return tensor.reshape(*tensor.shape[:2], -1, size).transpose(1, 2)

    def keep_probabilities(self, name, output):
        weights = [t for t in output if self.torch.is_tensor(t) and t.dim() == 4]
        if not weights:
            return
        probs = weights[-1]
        # Multi-query attention gave [batch, seq, heads, keys] until it got a function of its own.
        if getattr(self.config, "multi_query", False) and not hasattr(self.modeling, "eager_attention_forward"):
            probs = probs.transpose(1, 2)
        self.keep(name + ".attn_probs", probs)

    def keep_parts(self, attention, fused):
        """GPT BigCode: all queries, one key, one value; or query, key and value of each head in turn."""
        heads = self.config.num_attention_heads
        size = self.config.hidden_size // heads
        if self.config.multi_query:
            q, k, v = (self.heads(part) for part in fused.split((heads * size, size, size), dim=2))
        else:
            each = fused.reshape(*fused.shape[:2], heads, 3 * size).transpose(1, 2)
            q, k, v = each.split((size, size, size), dim=3)
        for part, value in (("q", q), ("k", k), ("v", v)):
            self.keep(f"{attention}.{part}", value)

    def rotary_hook(self, module, args, output):
        if "model.rotary_emb.cos" in self.values:
            return  # one for each layer, all alike
        for part, value in zip(("cos", "sin"), output):
            table = value.reshape(-1, value.shape[-1]) if value.dim() < 3 else value.reshape(-1, *value.shape[-2:])[0]
            self.keep("model.rotary_emb." + part, table[-self.length:])

    def wrapped_rotation(self, rotate):
        def wrapped(q, k, *args, **kwargs):
            rotated = rotate(q, k, *args, **kwargs)
            for part, value in zip(("q", "k"), rotated):
                # Phi rotates the first values of each head and joins the others on afterwards.
                norm = self.values.get(f"{self.attention}.{part}_layernorm")
                whole = (self.torch.from_numpy(norm) if norm is not None else
                         self.heads(self.torch.from_numpy(self.values[f"{self.attention}.{part}_proj"])))
                rest = whole[..., value.shape[-1]:].to(value.device)
                self.keep(f"{self.attention}.{part}_rope", self.torch.cat((value, rest), dim=-1))
            return rotated
        return wrapped


class Runner:
    def __init__(self, torch, model, mode):
        self.torch, self.model, self.mode = torch, model, mode
        self.recorder = Recorder(torch, model)

    def call(self, ids, past):
        """One call over ids [batch, seq]; its values by name, and the cache."""
        self.recorder.begin(ids.shape[1])
        with self.torch.no_grad(), self.mode:
            out = self.model(input_ids=self.torch.from_numpy(ids), past_key_values=past, use_cache=True,
                             output_attentions=True)
        values = self.recorder.values
        values["logits"] = out.logits.detach().cpu().to(self.torch.float64).numpy().copy()
        return values, out.past_key_values


def as_rows(values):
    """Of one sequence: the values that are rows, [seq, dim]."""
    return {name: value.reshape(-1, value.shape[-1]) for name, value in values.items()
            if not HEADS.search(name) and not name.startswith(("model.rotary_emb", "transformer.wpe"))}


def run_story_one(runner, prompt_ids, decode_ids):
    groups = {}
    groups["prefill"], past = runner.call(prompt_ids, None)
    for step in range(decode_ids.shape[1]):
        groups[f"decode/{step}"], past = runner.call(decode_ids[:, step:step + 1], past)
    return groups


def run_story_two(numpy, runner, prompts, batch_decode_ids):
    """Each sequence by itself, without padding; rows one after the other."""
    parts = {}
    for sequence, prompt in enumerate(prompts):
        values, past = runner.call(prompt[None, :], None)
        parts.setdefault("batch_prefill", []).append(as_rows(values))
        for step, ids in enumerate(batch_decode_ids):
            values, past = runner.call(ids[None, sequence:sequence + 1], past)
            parts.setdefault(f"batch_decode/{step}", []).append(as_rows(values))
    return {group: {name: numpy.concatenate([values[name] for values in each]) for name in each[0]}
            for group, each in parts.items()}


# ---- writing ----

def write_golden(path, inputs, rope, groups, attributes):
    import h5py
    import numpy
    beside = f"{path}.{os.getpid()}"
    try:
        with h5py.File(beside, "w", libver=("earliest", "v110")) as file:
            for name, value in attributes.items():
                text = isinstance(value, str)
                file.attrs[name] = numpy.bytes_(value.encode("ascii", "backslashreplace")) if text else value
            for name, value in inputs.items():
                file.create_dataset(f"inputs/{name}", data=numpy.asarray(value, dtype=numpy.int64))
            for name, value in rope.items():
                file.create_dataset(f"rope/{name}", data=numpy.asarray(value, dtype=numpy.float64))
            for group, values in groups.items():
                write_group(file, group, values)
        os.replace(beside, path)
    finally:
        if os.path.exists(beside):
            os.remove(beside)


def write_group(file, name, values):
    import numpy
    if name == "batch_prefill_logits":
        file.create_dataset(name, data=values, compression="gzip", shuffle=True)
        return
    parent, _, own = name.rpartition("/")
    group = (file.require_group(parent) if parent else file).create_group(own, track_order=True)
    for value_name, value in values.items():
        layer, rest = split_name(value_name)
        same = None
        for other in SECOND_NAMES.get(rest, ()):
            other = f"{layer}.{other}" if layer else other
            if other in group and numpy.array_equal(group[other][()], value):
                same = group[other]
        if same is not None:
            group[value_name] = same
        else:
            group.create_dataset(value_name, data=value, compression="gzip", shuffle=True)


def rope_of(model):
    """Frequencies after scaling, where the module states them for all lengths."""
    for module in rotary_modules(model).values():
        scaled_elsewhere = "Scaling" in type(module).__name__  # positions or angles are scaled, not the frequencies
        if hasattr(module, "inv_freq") and not scaled_elsewhere:
            return {"inv_freq": module.inv_freq.detach().cpu().double().numpy(),
                    "attention_scaling": float(getattr(module, "attention_scaling", 1.0))}
    return {}


def make_inputs(numpy, args, vocabulary):
    random = numpy.random.default_rng(args.seed)
    ids = lambda *shape: random.integers(0, vocabulary, shape, dtype=numpy.int64)
    if args.prompt_ids:
        lengths = {len(prompt) for prompt in args.prompt_ids}
        if len(lengths) != 1:
            raise SystemExit("export_hf.py: --prompt-ids: all prompts must be equally long; see --ragged")
        prompt = numpy.array(args.prompt_ids, dtype=numpy.int64)
        if prompt.min() < 0 or prompt.max() >= vocabulary:
            raise SystemExit(f"export_hf.py: --prompt-ids: must lie within 0..{vocabulary - 1}")
    else:
        prompt = ids(args.batch, args.prompt_length)
    inputs = {"prompt_ids": prompt}
    if args.steps > 0:
        inputs["decode_ids"] = ids(prompt.shape[0], args.steps)
    if args.ragged:
        inputs["ragged_ids"] = ids(sum(args.ragged))
        inputs["ragged_lengths"] = numpy.array(args.ragged, dtype=numpy.int64)
        inputs["logit_positions"] = numpy.cumsum(inputs["ragged_lengths"]) - 1
        if args.steps > 0:
            inputs["batch_decode_ids"] = ids(args.steps, len(args.ragged))
    return inputs


def export(args):
    try:
        import h5py  # noqa: F401, rather now than after an hour of computing
        import numpy
        import torch
        import transformers
    except ImportError as error:
        raise SystemExit(f"export_hf.py: {error}; needed are torch, transformers, h5py and numpy") from None
    if not os.path.isfile(os.path.join(args.model, "config.json")):
        raise SystemExit(f"export_hf.py: {args.model}: no folder with a config.json")
    mode = float64_mode(torch)
    name, code, model = load_model(torch, transformers, args, mode)
    inputs = make_inputs(numpy, args, model.config.vocab_size)
    longest = max([inputs["prompt_ids"].shape[1]] + list(args.ragged or [])) + args.steps
    if longest > model.config.max_position_embeddings:
        raise SystemExit(f"export_hf.py: {longest} tokens in a sequence: the model has positions for "
                         f"{model.config.max_position_embeddings}")
    runner = Runner(torch, model, mode)
    rope = rope_of(model)
    no_steps = numpy.zeros((inputs["prompt_ids"].shape[0], 0), dtype=numpy.int64)
    groups = run_story_one(runner, inputs["prompt_ids"], inputs.get("decode_ids", no_steps))
    if args.ragged:
        prompts = numpy.split(inputs["ragged_ids"], inputs["logit_positions"][:-1] + 1)
        groups.update(run_story_two(numpy, runner, prompts, inputs.get("batch_decode_ids", [])))
        groups["batch_prefill_logits"] = groups["batch_prefill"]["logits"][inputs["logit_positions"]]
    patches = "; ".join(sorted(mode.patches)) or "none"
    if runner.recorder.rounded:
        stays = ", ".join(sorted(runner.recorder.rounded))
        patches += f"; STILL float32: {stays}"
        print(f"warning: computed in float32 in spite of all: {stays}", file=sys.stderr)
    write_golden(args.out, inputs, rope, groups, {
        "architecture": name, "model_code": f"transformers {code}", "arithmetic": "float64", "float64_patches": patches,
        "seed": args.seed, "steps": args.steps, "torch_version": torch.__version__,
        "transformers_version": transformers.__version__, "description": f"export_hf.py of {args.model}"})
    print(f"{args.out}: {sum(len(v) for v in groups.values() if isinstance(v, dict))} values of {name}")


# ---- checking ----

class Checker:
    """Whether a file is what mlbench reads: names, types, shapes and inputs that agree."""

    INPUT_RANKS = {"prompt_ids": 2, "decode_ids": 2, "ragged_ids": 1, "ragged_lengths": 1, "logit_positions": 1,
                   "batch_decode_ids": 2, "tree_ids": 1, "tree_parents": 1, "tree_leaf": 0, "after_commit_ids": 1,
                   "chunks": 1}

    def __init__(self, file):
        self.file, self.problems, self.results = file, [], 0
        self.inputs = {}
        self.vocabulary = None

    def need(self, ok, message):
        if not ok:
            self.problems.append(message)
        return bool(ok)

    def run(self):
        self.read_inputs()
        for name, member in self.file.items():
            if name not in ("inputs", "rope"):
                self.check_top(name, member)
        self.need(self.results > 0, "no results: expected groups such as /prefill and /decode")
        architecture = self.file.attrs.get("architecture", b"")
        text = architecture.decode("ascii", "replace") if isinstance(architecture, bytes) else str(architecture)
        self.need(text in CLASSES, f"attribute architecture is {text!r}: must be one of {', '.join(CLASSES)}")

    def read_inputs(self):
        for name, dataset in self.file.get("inputs", {}).items():
            if not self.need(name in self.INPUT_RANKS, f"/inputs/{name}: not known"):
                continue
            rank = self.INPUT_RANKS[name]
            is_right = dataset.dtype.kind in "iu" and dataset.ndim == rank
            if self.need(is_right, f"/inputs/{name}: must be integers with {rank} dimensions, is {dataset.dtype} "
                                   f"{dataset.shape}"):
                self.inputs[name] = dataset[()]
        lengths = self.inputs.get("ragged_lengths")
        if lengths is not None and "ragged_ids" in self.inputs:
            self.need(lengths.sum() == self.inputs["ragged_ids"].shape[0],
                      f"/inputs/ragged_lengths: add up to {lengths.sum()}, there are "
                      f"{self.inputs['ragged_ids'].shape[0]} ragged_ids")

    def given(self, group, *names):
        return all([self.need(n in self.inputs, f"/{group}: /inputs/{n} is missing") for n in names])

    def check_top(self, name, member):
        if name == "batch_prefill_logits":
            self.results += 1
            if self.given(name, "logit_positions"):
                self.check_rows(member, self.inputs["logit_positions"].shape[0])
        elif name == "prefill" and self.given(name, "prompt_ids"):
            batch, prompt = self.inputs["prompt_ids"].shape
            self.check_batch(member, batch, prompt, prompt)
        elif name == "decode" and self.given(name, "prompt_ids", "decode_ids"):
            batch, prompt = self.inputs["prompt_ids"].shape
            for step, group in self.steps(member, self.inputs["decode_ids"].shape[1]):
                self.check_batch(group, batch, 1, prompt + step + 1)
        elif name == "batch_prefill" and self.given(name, "ragged_ids", "ragged_lengths"):
            self.check_group(member, self.inputs["ragged_ids"].shape[0])
        elif name == "batch_decode" and self.given(name, "batch_decode_ids", "ragged_lengths"):
            for _, group in self.steps(member, self.inputs["batch_decode_ids"].shape[0]):
                self.check_group(group, self.inputs["ragged_lengths"].shape[0])
        elif name == "tree" and self.given(name, "tree_ids", "tree_parents", "ragged_lengths"):
            self.check_group(member, self.inputs["tree_ids"].shape[0])
        elif name == "after_commit" and self.given(name, "after_commit_ids", "tree_leaf"):
            for _, group in self.steps(member, self.inputs["after_commit_ids"].shape[0]):
                self.check_group(group, 1)
        elif name not in ("prefill", "decode", "batch_prefill", "batch_decode", "tree", "after_commit"):
            self.need(False, f"/{name}: not known")

    def steps(self, group, count):
        for name, member in group.items():
            if self.need(name.isdigit() and int(name) < count, f"{group.name}/{name}: must be a step below {count}"):
                yield int(name), member

    def values(self, group):
        for name, dataset in group.items():
            self.results += 1
            if (self.need(is_known_name(name), f"{group.name}/{name}: no value of the layout has this name")
                    and self.need(dataset.dtype.kind == "f" and dataset.dtype.itemsize == 8,
                                  f"{dataset.name}: must be float64, is {dataset.dtype}")):
                yield name, dataset

    def check_group(self, group, rows):
        for _, dataset in self.values(group):
            self.check_rows(dataset, rows)

    def check_rows(self, dataset, rows):
        self.shape(dataset, dataset.ndim == 2 and dataset.shape[0] == rows, f"({rows}, dim)")

    def shape(self, dataset, ok, expected):
        if not self.need(ok, f"{dataset.name}: has shape {dataset.shape}, expected {expected}"):
            return
        self.need(self.is_finite(dataset), f"{dataset.name}: holds values that are not finite")
        if dataset.name.endswith(("/lm_head", "/logits", "/batch_prefill_logits")):
            self.vocabulary = self.vocabulary or dataset.shape[-1]
            self.need(dataset.shape[-1] == self.vocabulary,
                      f"{dataset.name}: is {dataset.shape[-1]} wide, other logits are {self.vocabulary}")

    @staticmethod
    def is_finite(dataset):
        import numpy
        return bool(numpy.isfinite(dataset[()]).all())

    def check_batch(self, group, batch, seq, keys):
        for name, dataset in self.values(group):
            shape = dataset.shape
            if HEADS.search(name):
                last = keys if name.endswith("attn_probs") else "head size"
                ok = len(shape) == 4 and (shape[0], shape[2]) == (batch, seq) and last in (shape[3], "head size")
                self.shape(dataset, ok, f"({batch}, heads, {seq}, {last})")
            elif name.startswith("model.rotary_emb"):
                self.shape(dataset, len(shape) == 2 and shape[0] == seq, f"({seq}, rotary size)")
            else:
                self.shape(dataset, len(shape) == 3 and shape[0] in (1, batch) and shape[1] == seq,
                           f"({batch}, {seq}, dim)")


def check(path):
    try:
        import h5py
    except ImportError as error:
        raise SystemExit(f"export_hf.py: {error}; --check needs h5py and numpy") from None
    try:
        with h5py.File(path, "r") as file:
            checker = Checker(file)
            checker.run()
    except (OSError, RuntimeError, KeyError) as error:  # what h5py makes of a damaged file
        raise SystemExit(f"export_hf.py: {path}: {str(error).splitlines()[0]}") from None
    for problem in checker.problems:
        print(f"{path}: {problem}")
    if not checker.problems:
        print(f"{path}: as mlbench reads it, {checker.results} values")
    return 1 if checker.problems else 0


# ---- the command line ----

def whole_numbers(least):
    def parse(text):
        try:
            numbers = [int(part) for part in text.split(",")]
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r}: must be whole numbers, separated by commas") from None
        if min(numbers) < least:
            raise argparse.ArgumentTypeError(f"{text!r}: must be >= {least}")
        return numbers
    return parse


def whole_number(least):
    def parse(text):
        numbers = whole_numbers(least)(text)
        if len(numbers) != 1:
            raise argparse.ArgumentTypeError(f"{text!r}: must be one number")
        return numbers[0]
    return parse


def main():
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLES,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", metavar="FILE",
                        help="check a golden's layout, compute nothing; exit 1 if it is wrong")
    parser.add_argument("--model", metavar="FOLDER", help="checkpoint with a config.json")
    parser.add_argument("--out", metavar="FILE", help="HDF5 file to write")
    parser.add_argument("--prompt-ids", metavar="ID,ID,...", action="append", type=whole_numbers(0),
                        help="a prompt; again for each more, all of one length")
    parser.add_argument("--prompt-length", metavar="N", type=whole_number(1), default=16,
                        help="without --prompt-ids: length of random prompts (default 16)")
    parser.add_argument("--batch", metavar="B", type=whole_number(1), default=2, help="how many of them (default 2)")
    parser.add_argument("--seed", metavar="S", type=whole_number(0), default=1, help="of random ids (default 1)")
    parser.add_argument("--steps", metavar="K", type=whole_number(0), default=4, help="decoding steps (default 4)")
    parser.add_argument("--ragged", metavar="T,T,...", type=whole_numbers(1),
                        help="lengths of random prompts that are run together, with --steps steps")
    parser.add_argument("--trust-remote-code", action="store_true",
                        help="run the checkpoint's own code; without it Orion runs on Llama's code with LayerNorm")
    args = parser.parse_args()
    if args.check:
        return check(args.check)
    if not args.model or not args.out:
        parser.error("--model FOLDER and --out FILE are needed, or --check FILE")
    return export(args)


if __name__ == "__main__":
    sys.exit(main())
