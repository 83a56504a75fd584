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

RopeKind read_kind(const ConfigFields& scaling, Architecture architecture) {
  const char* field = scaling.has("rope_type") ? "rope_type" : "type";
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
  if (fields.has("n_embd")) return fields.integer("rotary_dim").value_or(32);
  const double share = partial.value_or(0.5);
  if (!(share > 0.0) || share > 1.0) throw fields.bad_value("partial_rotary_factor", "must be > 0 and <= 1");
  return static_cast<Index>(share * static_cast<double>(config.head_dim));
}

void read_yarn(const ConfigFields& scaling, RopeConfig& rope) {
  rope.factor = required_factor(scaling, rope.kind);
  rope.beta_fast = scaling.number("beta_fast").value_or(32.0);
  rope.beta_slow = scaling.number("beta_slow").value_or(1.0);
  if (rope.beta_fast <= 0.0) throw scaling.bad_value("beta_fast", "must be > 0");
  if (rope.beta_slow <= 0.0) throw scaling.bad_value("beta_slow", "must be > 0");
  if (rope.beta_fast < rope.beta_slow) throw scaling.bad_value("beta_fast", "must be >= beta_slow");
  rope.truncate = scaling.boolean("truncate").value_or(true);
  rope.mscale = scaling.number("mscale").value_or(0.0);
  rope.mscale_all_dim = scaling.number("mscale_all_dim").value_or(0.0);
  if (rope.theta == 1.0) throw scaling.bad_value("rope_theta", "yarn divides by its logarithm: must not be 1");
}

void read_scaling(const ConfigFields& scaling, RopeConfig& rope) {
  rope.attention_factor = scaling.number("attention_factor");
  if (rope.attention_factor && *rope.attention_factor <= 0.0)
    throw scaling.bad_value("attention_factor", "must be > 0");
  switch (rope.kind) {
    case RopeKind::none:
    case RopeKind::plain: return;
    case RopeKind::linear: rope.factor = required_factor(scaling, rope.kind); return;
    case RopeKind::dynamic:
      rope.factor = required_factor(scaling, rope.kind);
      if (rope.rotary_dim <= 2) throw scaling.unsupported("rope_type", "dynamic needs a rotary size above 2");
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
    case RopeKind::longrope: {
      const double stretch = static_cast<double>(rope.max_positions) / static_cast<double>(rope.original_max_positions);
      rope.factor = scaling.has("factor") ? required_factor(scaling, rope.kind) : stretch;
      rope.short_factor = required_factors(scaling, "short_factor", rope.rotary_dim / 2);
      rope.long_factor = required_factors(scaling, "long_factor", rope.rotary_dim / 2);
      // attention_factor defaults to sqrt(1 + ln f / ln Lo).
      if (rope.original_max_positions < 2) throw scaling.bad_value("original_max_position_embeddings", "must be >= 2");
      return;
    }
  }
}

}  // namespace

RopeConfig read_rope(const ConfigFields& fields, const ModelConfig& config) {
  std::optional<ConfigFields> scaling = fields.object("rope_scaling");
  if (!scaling) scaling = fields.object("rope_parameters");

  RopeConfig rope;
  rope.kind = scaling ? read_kind(*scaling, config.architecture) : RopeKind::plain;

  const bool nested_theta = scaling && scaling->has("rope_theta");
  rope.theta = (nested_theta ? scaling->number("rope_theta") : fields.number("rope_theta")).value_or(10000.0);
  if (rope.theta <= 0.0) throw(nested_theta ? *scaling : fields).bad_value("rope_theta", "must be > 0");
  if (const auto base = fields.number("position_embedding_base"); base && *base != 0.0) {
    if (*base < 0.0) throw fields.bad_value("position_embedding_base", "must be > 0, or 0 for rope_theta");
    rope.theta = *base;
  }

  rope.rotary_dim = read_rotary_dim(fields, scaling, config, rope.kind);
  const char* named = config.architecture != Architecture::phi ? "head_dim"
                      : fields.has("n_embd")                   ? "rotary_dim"
                                                               : "partial_rotary_factor";
  if (rope.rotary_dim <= 0 || rope.rotary_dim > config.head_dim) {
    throw fields.bad_value(named, fmt::format("gives rotary size {}: must be > 0 and <= the head size, {}",
                                              rope.rotary_dim, config.head_dim));
  }
  if (rope.rotary_dim % 2 != 0) {
    throw fields.bad_value(named, fmt::format("gives rotary size {}: must be even", rope.rotary_dim));
  }

  // An engine's context window does not change what a model computes; it stands in where a file says nothing else.
  const auto longest =
      fields.integer_of({"max_position_embeddings", "n_positions", "max_sequence_length", "context_window_size"});
  rope.max_positions = longest.value_or(2048);
  const bool top_level = fields.has("original_max_position_embeddings");
  const ConfigFields& holder = top_level || !scaling ? fields : *scaling;
  rope.original_max_positions = holder.integer("original_max_position_embeddings").value_or(rope.max_positions);
  if (rope.max_positions <= 0) throw fields.bad_value("max_position_embeddings", "must be > 0");
  if (rope.original_max_positions <= 0) throw holder.bad_value("original_max_position_embeddings", "must be > 0");

  if (scaling) read_scaling(*scaling, rope);
  return rope;
}

}  // namespace mlbench
