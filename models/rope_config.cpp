#include "models/rope_config.h"

#include <cmath>

#include <fmt/format.h>

namespace mlbench {
namespace {

struct Named {
  const char* name;
  RopeKind kind;
};
constexpr Named kKinds[] = {{"default", RopeKind::plain},   {"linear", RopeKind::linear},
                            {"dynamic", RopeKind::dynamic}, {"llama3", RopeKind::llama3},
                            {"yarn", RopeKind::yarn},       {"longrope", RopeKind::longrope}};

const char* kind_field(const ConfigFields& scaling) { return scaling.has("rope_type") ? "rope_type" : "type"; }

RopeKind read_kind(const ConfigFields& scaling, Architecture architecture) {
  const char* field = kind_field(scaling);
  const std::string text = scaling.text(field).value_or("default");
  for (const Named& named : kKinds) {
    if (text != named.name) continue;
    // Orion's own code, the only definition there is, knows these three.
    const bool beyond_orion =
        named.kind != RopeKind::plain && named.kind != RopeKind::linear && named.kind != RopeKind::dynamic;
    if (architecture == Architecture::orion && beyond_orion) {
      throw scaling.unsupported(field, "Orion knows the kinds default, linear and dynamic");
    }
    return named.kind;
  }
  throw scaling.unsupported(field, "must be default, linear, dynamic, llama3, yarn or longrope");
}

double required_number(const ConfigFields& fields, const char* field, RopeKind kind) {
  if (const auto value = fields.number(field)) return *value;
  throw fields.missing(field, fmt::format("rope kind {} needs it", name(kind)));
}

double required_factor(const ConfigFields& fields, RopeKind kind) {
  const double factor = required_number(fields, "factor", kind);
  if (factor < 1.0) throw fields.bad_value("factor", "must be >= 1");
  return factor;
}

std::vector<double> required_factors(const ConfigFields& fields, const char* field, Index count) {
  const auto values = fields.numbers(field);
  if (!values) throw fields.missing(field, "rope kind longrope needs it");
  if (static_cast<Index>(values->size()) != count) {
    throw fields.bad_value(field, fmt::format("must have {} numbers, half the rotary size", count));
  }
  for (const double value : *values) {
    if (value <= 0.0) throw fields.bad_value(field, "must all be > 0");
  }
  return *values;
}

void read_theta(const ConfigFields& fields, const std::optional<ConfigFields>& scaling, RopeConfig& rope) {
  const bool nested = scaling && scaling->has("rope_theta");
  const ConfigFields* holder = nested ? &*scaling : &fields;
  const char* field = "rope_theta";
  rope.theta = holder->number(field).value_or(10000.0);
  if (rope.theta <= 0.0) throw holder->bad_value(field, "must be > 0");
  if (const auto base = fields.number("position_embedding_base"); base && *base != 0.0) {
    holder = &fields;
    field = "position_embedding_base";
    if (*base < 0.0) throw fields.bad_value(field, "must be > 0, or 0 for rope_theta");
    rope.theta = *base;
  }
  if (rope.kind == RopeKind::yarn && rope.theta == 1.0) {
    throw holder->bad_value(field, "yarn divides by its logarithm: must not be 1");
  }
}

void read_lengths(const ConfigFields& fields, const std::optional<ConfigFields>& scaling, RopeConfig& rope) {
  rope.max_positions = 2048;
  // An engine's context window does not change what a model computes; it stands in where a file says nothing else.
  for (const char* field : {"max_position_embeddings", "n_positions", "max_sequence_length", "context_window_size"}) {
    const Index length = fields.integer(field).value_or(0);
    if (length < 0) throw fields.bad_value(field, "must be > 0");
    if (length == 0) continue;  // as good as absent; whether any is needed, the context window decides
    rope.max_positions = length;
    break;
  }
  rope.original_max_positions = rope.max_positions;
  if (rope.kind != RopeKind::llama3 && rope.kind != RopeKind::yarn && rope.kind != RopeKind::longrope) return;
  const char* field = "original_max_position_embeddings";
  const ConfigFields& holder = fields.has(field) || !scaling ? fields : *scaling;
  rope.original_max_positions = holder.integer(field).value_or(rope.max_positions);
  if (rope.original_max_positions <= 0) throw holder.bad_value(field, "must be > 0");
}

Index read_rotary_dim(const ConfigFields& fields, const std::optional<ConfigFields>& scaling, const ModelConfig& config,
                      RopeKind kind) {
  const auto partial = [&]() -> std::optional<double> {
    if (scaling && scaling->has("partial_rotary_factor")) return scaling->number("partial_rotary_factor");
    return fields.number("partial_rotary_factor");
  }();
  if (config.architecture != Architecture::phi) {
    // Hugging Face does not look at it for these unless the frequencies are scaled, and then it does not run.
    if (partial && *partial != 1.0 && kind != RopeKind::plain) {
      throw fields.unsupported("partial_rotary_factor", "only Phi rotates a part of each head");
    }
    return config.head_dim;
  }
  if (has_msft_names(fields)) return fields.integer("rotary_dim").value_or(32);
  const double share = partial.value_or(0.5);
  const bool sane = share > 0.0 && share * static_cast<double>(config.head_dim) < 0x1p31;
  if (!sane) throw fields.bad_value("partial_rotary_factor", "must be > 0 and give a size within the head");
  return static_cast<Index>(share * static_cast<double>(config.head_dim));
}

void read_yarn(const ConfigFields& scaling, RopeConfig& rope) {
  rope.factor = required_factor(scaling, rope.kind);
  rope.beta_fast = scaling.number("beta_fast").value_or(32.0);
  rope.beta_slow = scaling.number("beta_slow").value_or(1.0);
  if (rope.beta_fast <= 0.0) throw scaling.bad_value("beta_fast", "must be > 0");
  if (rope.beta_slow <= 0.0) throw scaling.bad_value("beta_slow", "must be > 0");
  rope.truncate = scaling.boolean("truncate").value_or(true);
  rope.mscale = scaling.number("mscale").value_or(0.0);
  rope.mscale_all_dim = scaling.number("mscale_all_dim").value_or(0.0);
  rope.attention_factor = scaling.number("attention_factor");
}

void read_longrope(const ConfigFields& fields, const ConfigFields& scaling, RopeConfig& rope) {
  const double stretch = static_cast<double>(rope.max_positions) / static_cast<double>(rope.original_max_positions);
  rope.factor = scaling.has("factor") ? required_factor(scaling, rope.kind) : stretch;
  rope.short_factor = required_factors(scaling, "short_factor", rope.rotary_dim / 2);
  rope.long_factor = required_factors(scaling, "long_factor", rope.rotary_dim / 2);
  rope.attention_factor = scaling.number("attention_factor");
  if (!rope.attention_factor && rope.factor > 1.0 && rope.original_max_positions < 2) {
    const char* field = "original_max_position_embeddings";
    throw(fields.has(field) ? fields : scaling)
        .bad_value(field, "must be >= 2: attention_factor is absent and follows from its logarithm");
  }
}

void read_scaling(const ConfigFields& fields, const ConfigFields& scaling, RopeConfig& rope) {
  switch (rope.kind) {
    case RopeKind::none:
    case RopeKind::plain: return;
    case RopeKind::linear: rope.factor = required_factor(scaling, rope.kind); return;
    case RopeKind::dynamic:
      rope.factor = required_factor(scaling, rope.kind);
      if (rope.rotary_dim <= 2) {
        throw scaling.unsupported(kind_field(scaling),
                                  fmt::format("it needs a rotary size above 2, this is {}", rope.rotary_dim));
      }
      return;
    case RopeKind::llama3:
      rope.factor = required_factor(scaling, rope.kind);
      rope.low_freq_factor = required_number(scaling, "low_freq_factor", rope.kind);
      rope.high_freq_factor = required_number(scaling, "high_freq_factor", rope.kind);
      if (rope.low_freq_factor <= 0.0) throw scaling.bad_value("low_freq_factor", "must be > 0");
      if (rope.high_freq_factor <= rope.low_freq_factor) {
        throw scaling.bad_value("high_freq_factor",
                                fmt::format("must be > low_freq_factor ({})", rope.low_freq_factor));
      }
      return;
    case RopeKind::yarn: read_yarn(scaling, rope); return;
    case RopeKind::longrope: read_longrope(fields, scaling, rope); return;
  }
}

}  // namespace

bool has_msft_names(const ConfigFields& fields) {
  if (fields.has("n_embd")) return true;
  const auto type = fields.text("model_type");
  return (type == "phi-msft" || type == "mixformer-sequential") && !fields.has("hidden_size");
}

RopeConfig read_rope(const ConfigFields& fields, const ModelConfig& config) {
  std::optional<ConfigFields> scaling = fields.object("rope_scaling");
  if (!scaling) scaling = fields.object("rope_parameters");

  RopeConfig rope;
  rope.kind = scaling ? read_kind(*scaling, config.architecture) : RopeKind::plain;

  read_theta(fields, scaling, rope);

  rope.rotary_dim = read_rotary_dim(fields, scaling, config, rope.kind);
  const char* named = config.architecture != Architecture::phi ? "head_dim"
                      : has_msft_names(fields)                 ? "rotary_dim"
                                                               : "partial_rotary_factor";
  if (rope.rotary_dim <= 0 || rope.rotary_dim > config.head_dim) {
    throw fields.bad_value(named, fmt::format("gives rotary size {}: must be > 0 and <= the head size, {}",
                                              rope.rotary_dim, config.head_dim));
  }
  if (rope.rotary_dim % 2 != 0) {
    throw fields.bad_value(named, fmt::format("gives rotary size {}: must be even", rope.rotary_dim));
  }

  read_lengths(fields, scaling, rope);
  if (scaling) read_scaling(fields, *scaling, rope);
  return rope;
}

}  // namespace mlbench
