#include "golden/hf_layout.h"

#include <algorithm>
#include <charconv>
#include <limits>

#include <fmt/format.h>

#include "core/error.h"

namespace mlbench::golden {
namespace {

struct ModuleTap {
  std::string_view module;
  Tap tap;
};

constexpr ModuleTap kGlobal[] = {
    {"transformer.wte", Tap::embed_token},
    {"transformer.wpe", Tap::embed_position},
    {"model.embed_tokens", Tap::embed},
    {"transformer.drop", Tap::embed},
    {"model.rotary_emb.cos", Tap::rope_cos},
    {"model.rotary_emb.sin", Tap::rope_sin},
    {"model.norm", Tap::final_norm},
    {"model.final_layernorm", Tap::final_norm},
    {"transformer.ln_f", Tap::final_norm},
    {"lm_head", Tap::logits},
    {"logits", Tap::logits},
};

constexpr std::string_view kLayerPrefixes[] = {"model.layers.", "transformer.h."};

constexpr ModuleTap kLayer[] = {
    {"", Tap::layer_out},
    {"input_layernorm", Tap::attn_norm},
    {"ln_1", Tap::attn_norm},
    {"attn.c_attn", Tap::qkv_proj},
    {"self_attn.q_proj", Tap::q_proj},
    {"self_attn.k_proj", Tap::k_proj},
    {"self_attn.v_proj", Tap::v_proj},
    {"self_attn.q_layernorm", Tap::q_norm},
    {"self_attn.k_layernorm", Tap::k_norm},
    {"self_attn.q_rope", Tap::q},
    {"self_attn.k_rope", Tap::k},
    {"self_attn.v", Tap::v},
    {"attn.q", Tap::q},
    {"attn.k", Tap::k},
    {"attn.v", Tap::v},
    {"self_attn.attn_probs", Tap::probs},
    {"attn.attn_probs", Tap::probs},
    {"self_attn.attn_out", Tap::context},
    {"attn.attn_out", Tap::context},
    {"self_attn.o_proj", Tap::attn_out},
    {"self_attn.dense", Tap::attn_out},
    {"attn.c_proj", Tap::attn_out},
    {"self_attn", Tap::attn_out},
    {"attn", Tap::attn_out},
    {"post_attention_layernorm", Tap::mlp_norm},
    {"ln_2", Tap::mlp_norm},
    {"mlp.gate_proj", Tap::gate},
    {"mlp.up_proj", Tap::up},
    {"mlp.fc1", Tap::up},
    {"mlp.c_fc", Tap::up},
    {"mlp.act_fn", Tap::act},
    {"mlp.activation_fn", Tap::act},
    {"mlp.act", Tap::act},
    {"mlp.down_proj", Tap::mlp_out},
    {"mlp.fc2", Tap::mlp_out},
    {"mlp.c_proj", Tap::mlp_out},
    {"mlp", Tap::mlp_out},
};

constexpr struct {
  std::string_view name;
  Group group;
  bool steps;
} kGroups[] = {
    {"prefill", Group::prefill, false},
    {"decode", Group::decode, true},
    {"batch_prefill", Group::batch_prefill, false},
    {"batch_decode", Group::batch_decode, true},
    {"tree", Group::tree, false},
    {"after_commit", Group::after_commit, true},
};

// Takes a number that ends at `end` (or at the end of the text) from the front of `text`.
std::optional<Index> take_number(std::string_view& text, char end) {
  Index value = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const auto used = static_cast<std::size_t>(stop - text.data());
  if (error != std::errc() || value < 0 || value > std::numeric_limits<std::int32_t>::max()) return std::nullopt;
  if (used != text.size() && text[used] != end) return std::nullopt;
  text.remove_prefix(std::min(text.size(), used + 1));
  return value;
}

std::optional<Tap> find_module(const auto& table, std::string_view module) {
  for (const ModuleTap& entry : table) {
    if (entry.module == module) return entry.tap;
  }
  return std::nullopt;
}

// "/decode/2/lm_head" -> step and module; a reason where it is neither.
struct Parsed {
  StepId step;
  std::string_view module;
};

std::optional<Parsed> parse_path(std::string_view path) {
  path.remove_prefix(1);
  for (const auto& known : kGroups) {
    if (path.substr(0, known.name.size()) != known.name) continue;
    std::string_view rest = path.substr(known.name.size());
    if (rest.empty() || rest.front() != '/') continue;
    rest.remove_prefix(1);
    StepId step{known.group, -1};
    if (known.steps) {
      const auto number = take_number(rest, '/');
      if (!number) return std::nullopt;
      step.step = *number;
    }
    return Parsed{step, rest};
  }
  return std::nullopt;
}

class InputReader {
 public:
  explicit InputReader(GoldenFile& file) : file_(file) {}

  Tensor<std::int64_t> read(const char* name, std::size_t rank) {
    const std::string path = fmt::format("/inputs/{}", name);
    const DatasetInfo* dataset = file_.find(path);
    if (dataset == nullptr) return {};
    if (dataset->shape.size() != rank) {
      throw bad(name, fmt::format("must have {} dimensions, has shape {}", rank, to_string(dataset->shape)));
    }
    Tensor<std::int64_t> values = file_.read_integers(*dataset);
    constexpr std::int64_t kLargest = std::numeric_limits<std::int32_t>::max();
    for (const std::int64_t value : values.values()) {
      if (value < -1 || value > kLargest)
        throw bad(name, fmt::format("holds {}: must lie within -1..{}", value, kLargest));
    }
    return values;
  }

  [[nodiscard]] Error bad(const char* name, const std::string& what) const {
    return request_error("golden.format", fmt::format("{}: /inputs/{}: {}", file_.path(), name, what));
  }

  void need(bool ok, const char* name, const std::string& what) const {
    if (!ok) throw bad(name, what);
  }

 private:
  GoldenFile& file_;
};

Index sum(const Tensor<std::int64_t>& values) {
  Index total = 0;
  for (const std::int64_t value : values.values()) total += value;  // bounded: each below 2^31, as many as were read
  return total;
}

void check_story_one(const InputReader& reader, const Inputs& in, const HfGolden& golden) {
  for (const Result& result : golden.results) {
    if (result.step.group != Group::prefill && result.step.group != Group::decode) continue;
    reader.need(in.prompt_ids.size() > 0, "prompt_ids",
                fmt::format("absent or empty, but there is {}", result.dataset->path));
    if (result.step.group != Group::decode) continue;
    const bool given = in.decode_ids.size() > 0 && in.decode_ids.dim(0) == in.prompt_ids.dim(0) &&
                       result.step.step < in.decode_ids.dim(1);
    reader.need(given, "decode_ids", fmt::format("has no tokens for {}", result.dataset->path));
  }
}

void check_story_two(const InputReader& reader, const Inputs& in, const HfGolden& golden) {
  bool told = golden.batch_prefill_logits != nullptr;
  Index decode_steps = 0;
  bool tree = false;
  Index after_commit = 0;
  for (const Result& result : golden.results) {
    const Group group = result.step.group;
    told = told || (group != Group::prefill && group != Group::decode);
    tree = tree || group == Group::tree || group == Group::after_commit;
    if (group == Group::batch_decode) decode_steps = std::max(decode_steps, result.step.step + 1);
    if (group == Group::after_commit) after_commit = std::max(after_commit, result.step.step + 1);
  }
  if (!told) return;
  const Index sequences = in.ragged_lengths.size();
  reader.need(sequences > 0, "ragged_lengths", "absent or empty, but there are results of ragged batches");
  for (const std::int64_t length : in.ragged_lengths.values())
    reader.need(length > 0, "ragged_lengths", "must all be > 0");
  reader.need(sum(in.ragged_lengths) == in.ragged_ids.size(), "ragged_ids",
              fmt::format("has {} tokens, ragged_lengths add up to {}", in.ragged_ids.size(), sum(in.ragged_lengths)));
  if (golden.batch_prefill_logits != nullptr) {
    reader.need(in.logit_positions.size() > 0, "logit_positions",
                "absent or empty, but there is /batch_prefill_logits");
    for (const std::int64_t row : in.logit_positions.values()) {
      reader.need(row >= 0 && row < in.ragged_ids.size(), "logit_positions",
                  fmt::format("holds {}: must lie within 0..{}", row, in.ragged_ids.size() - 1));
    }
  }
  if (in.batch_decode_ids.size() > 0) {
    reader.need(in.batch_decode_ids.dim(1) == sequences, "batch_decode_ids",
                fmt::format("must have a token for each of {} sequences, has shape {}", sequences,
                            to_string(in.batch_decode_ids.shape())));
  }
  const Index given_steps = in.batch_decode_ids.size() > 0 ? in.batch_decode_ids.dim(0) : 0;
  reader.need(decode_steps <= given_steps, "batch_decode_ids",
              fmt::format("has {} steps, results have {}", given_steps, decode_steps));
  if (tree) {
    reader.need(in.tree_ids.size() > 0, "tree_ids", "absent or empty, but there are results of a token tree");
    reader.need(in.tree_parents.size() == in.tree_ids.size(), "tree_parents", "must be as many as tree_ids");
    for (Index node = 0; node < in.tree_parents.size(); ++node) {
      const std::int64_t parent = in.tree_parents.values()[static_cast<std::size_t>(node)];
      reader.need(parent < node, "tree_parents",
                  fmt::format("node {} has parent {}: must lie within -1..{}", node, parent, node - 1));
    }
    reader.need(!in.tree_leaf || *in.tree_leaf < in.tree_ids.size(), "tree_leaf",
                fmt::format("must lie within -1..{}", in.tree_ids.size() - 1));
  }
  if (after_commit > 0) {
    reader.need(in.tree_leaf.has_value(), "tree_leaf", "absent, but there is /after_commit");
    reader.need(after_commit <= in.after_commit_ids.size(), "after_commit_ids",
                fmt::format("has {} tokens, results have {}", in.after_commit_ids.size(), after_commit));
  }
  if (in.chunks.size() > 0) {
    const auto lengths = in.ragged_lengths.values();
    const Index longest = *std::max_element(lengths.begin(), lengths.end());
    for (const std::int64_t chunk : in.chunks.values()) reader.need(chunk > 0, "chunks", "must all be > 0");
    reader.need(sum(in.chunks) == longest, "chunks",
                fmt::format("add up to {}, the longest prompt has {}", sum(in.chunks), longest));
  }
}

}  // namespace

std::optional<TapId> tap_of_module(std::string_view module) {
  if (const auto tap = find_module(kGlobal, module)) return TapId{*tap, -1};
  for (const std::string_view prefix : kLayerPrefixes) {
    if (module.substr(0, prefix.size()) != prefix) continue;
    std::string_view rest = module.substr(prefix.size());
    const auto layer = take_number(rest, '.');
    if (!layer) return std::nullopt;
    if (const auto tap = find_module(kLayer, rest)) return TapId{*tap, *layer};
  }
  return std::nullopt;
}

std::vector<std::string> modules_of_tap(Tap tap) {
  std::vector<std::string> names;
  for (const ModuleTap& entry : kGlobal) {
    if (entry.tap == tap) names.emplace_back(entry.module);
  }
  for (const ModuleTap& entry : kLayer) {
    if (entry.tap != tap) continue;
    if (!entry.module.empty()) names.emplace_back(entry.module);
    if (entry.module.empty()) names.insert(names.end(), {"model.layers.N", "transformer.h.N"});
  }
  return names;
}

std::string_view name(Group group) {
  for (const auto& known : kGroups) {
    if (known.group == group) return known.name;
  }
  return "?";
}

std::string to_string(StepId id) {
  return id.step < 0 ? std::string(name(id.group)) : fmt::format("{}/{}", name(id.group), id.step);
}

HfGolden read_hf_layout(GoldenFile& file) {
  HfGolden golden;
  for (const DatasetInfo& dataset : file.info().datasets) {
    const std::string_view path = dataset.path;
    if (path.substr(0, 8) == "/inputs/" || path.substr(0, 6) == "/rope/") continue;
    ++golden.num_results;
    if (path == "/batch_prefill_logits") {
      golden.batch_prefill_logits = &dataset;
      continue;
    }
    const auto parsed = parse_path(path);
    const auto tap = parsed ? tap_of_module(parsed->module) : std::nullopt;
    if (!parsed) {
      golden.unmapped.push_back({dataset.path, "its group is not known"});
    } else if (!tap) {
      golden.unmapped.push_back({dataset.path, "no tap is known for this module"});
    } else if (dataset.kind != ValueKind::real) {
      golden.unmapped.push_back({dataset.path, "it holds no floating-point numbers"});
    } else {
      golden.results.push_back({parsed->step, *tap, &dataset});
    }
  }
  if (golden.num_results == 0) {
    throw request_error("golden.format",
                        fmt::format("{}: holds no results: expected groups such as /prefill and /decode", file.path()));
  }
  InputReader reader(file);
  Inputs& in = golden.inputs;
  in.prompt_ids = reader.read("prompt_ids", 2);
  in.decode_ids = reader.read("decode_ids", 2);
  in.ragged_ids = reader.read("ragged_ids", 1);
  in.ragged_lengths = reader.read("ragged_lengths", 1);
  in.logit_positions = reader.read("logit_positions", 1);
  in.batch_decode_ids = reader.read("batch_decode_ids", 2);
  in.tree_ids = reader.read("tree_ids", 1);
  in.tree_parents = reader.read("tree_parents", 1);
  if (file.find("/inputs/tree_leaf") != nullptr) in.tree_leaf = reader.read("tree_leaf", 0).values()[0];
  in.after_commit_ids = reader.read("after_commit_ids", 1);
  in.chunks = reader.read("chunks", 1);
  check_story_one(reader, in, golden);
  check_story_two(reader, in, golden);
  return golden;
}

Tensor<double> to_tap_layout(const Tensor<double>& values, const DatasetInfo& dataset, const Shape& expected,
                             TapLayout layout, Index batch, const std::string& file) {
  const Shape& shape = values.shape();
  const auto mismatch = [&] {
    return request_error("golden.shape",
                         fmt::format("{}: dataset {} has shape {}: the model gives {} for {} sequences", file,
                                     in_quotes(dataset.path), to_string(shape), to_string(expected), batch));
  };
  const bool rows = layout == TapLayout::rows;
  const Index total_rows = expected[rows ? 0 : 1];
  const Index width = expected.back();
  const Index seq = total_rows / batch;
  Tensor<double> out(expected);
  if (rows) {
    const bool every = shape == Shape{batch, seq, width} || shape == Shape{total_rows, width};
    const bool once = shape == Shape{1, seq, width} || shape == Shape{seq, width};
    if (!every && !once) throw mismatch();
    for (Index t = 0; t < total_rows; ++t) std::ranges::copy(values.row(every ? t : t % seq), out.row(t).begin());
    return out;
  }
  const Index heads = expected[0];
  if (shape != Shape{batch, heads, seq, width}) throw mismatch();
  for (Index b = 0; b < batch; ++b) {
    for (Index h = 0; h < heads; ++h) {
      for (Index t = 0; t < seq; ++t) {
        std::ranges::copy(values.row((b * heads + h) * seq + t), out.row(h * total_rows + b * seq + t).begin());
      }
    }
  }
  return out;
}

}  // namespace mlbench::golden
