#include "harness/plan_json.h"

#include <algorithm>
#include <array>
#include <numeric>
#include <utility>

#include <fmt/format.h>

#include "core/error.h"
#include "core/json.h"

namespace mlbench::harness {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;
using Kind = CacheOperation::Kind;

constexpr std::array kKinds = {"add", "remove", "fork", "popn", "commit", "window"};  // in the order of Kind

ordered_json to_json(const CacheOperation& operation) {
  ordered_json out = {{"operation", kKinds[static_cast<std::size_t>(operation.kind)]}, {"sequence", operation.id}};
  if (operation.kind == Kind::fork) out["child"] = operation.child;
  if (operation.kind != Kind::add && operation.kind != Kind::remove) out["number"] = operation.number;
  if (operation.kind == Kind::window) out["sink"] = operation.sink;
  return out;
}

ordered_json to_json(const Call& call) {
  ordered_json before = ordered_json::array();
  for (const CacheOperation& operation : call.before) before.push_back(to_json(operation));
  ordered_json out = {{"label", call.label}, {"method", name(call.method)}, {"before", before},
                      {"ids", call.ids},     {"lengths", call.lengths},     {"tokens", call.tokens}};
  if (call.tree_parents) out["tree_parents"] = *call.tree_parents;
  if (!call.logit_positions.empty()) out["logit_positions"] = call.logit_positions;
  if (call.padding > 0) out["padding"] = call.padding;
  return out;
}

// A whole number that fits; the JSON library would cut others.
template <class T>
T integer(const json& value, const char* field) {
  const bool fits = value.is_number_unsigned()  ? std::in_range<T>(value.get<std::uint64_t>())
                    : value.is_number_integer() ? std::in_range<T>(value.get<std::int64_t>())
                                                : false;
  if (!fits) throw request_error("golden.format", fmt::format("{} {}: must be whole numbers", field, shown(value)));
  return value.get<T>();
}

template <class T>
std::vector<T> integers(const json& from, const char* field) {
  std::vector<T> out;
  if (!from.at(field).is_array()) throw request_error("golden.format", fmt::format("{}: must be a list", field));
  for (const json& value : from.at(field)) out.push_back(integer<T>(value, field));
  return out;
}

ordered_json to_json(const backends::Summation& sum) { return {{"fused", sum.fused}, {"truncates", sum.truncates}}; }

backends::Summation summation_from(const json& parsed) {
  const auto fused = integer<Index>(parsed.at("fused"), "fused");
  if (fused < 1) throw request_error("golden.format", fmt::format("fused {}: must be at least 1", fused));
  return {.fused = fused, .truncates = parsed.at("truncates").get<bool>()};
}

// One of a size that sums and products of a few cannot overflow with; 0 where it is left out.
Index bounded(const json& from, const char* field) {
  constexpr Index kMost = Index{1} << 32U;
  const Index number = from.contains(field) ? integer<Index>(from.at(field), field) : 0;
  if (number < -kMost || number > kMost)
    throw request_error("golden.format", fmt::format("{} {}: beyond 2^32", field, number));
  return number;
}

CacheOperation operation_from(const json& from) {
  const auto word = from.at("operation").get<std::string>();
  const auto* const kind = std::ranges::find(kKinds, word);
  if (kind == kKinds.end()) throw request_error("golden.format", fmt::format("operation {}", in_quotes(word)));
  (void)from.at("sequence");
  return {static_cast<Kind>(kind - kKinds.begin()), bounded(from, "sequence"), bounded(from, "child"),
          bounded(from, "number"), bounded(from, "sink")};
}

Call call_from(const json& from) {
  Call call;
  call.label = from.at("label").get<std::string>();
  const auto word = from.at("method").get<std::string>();
  const auto method = backends::parse_method(word);
  if (!method) throw request_error("golden.format", fmt::format("method {}", in_quotes(word)));
  call.method = *method;
  for (const json& operation : from.at("before")) call.before.push_back(operation_from(operation));
  call.ids = integers<SeqId>(from, "ids");
  call.lengths = integers<Index>(from, "lengths");
  call.tokens = integers<std::int32_t>(from, "tokens");
  if (from.contains("tree_parents")) call.tree_parents = integers<Index>(from, "tree_parents");
  if (from.contains("logit_positions")) call.logit_positions = integers<std::int32_t>(from, "logit_positions");
  call.padding = bounded(from, "padding");
  if (call.padding < 0 || call.padding > call.rows() + 1024)
    throw request_error("golden.format", fmt::format("call {}: padding {}", in_quotes(call.label), call.padding));
  const bool lengths_fit = call.ids.size() == call.lengths.size() && !call.ids.empty() &&
                           std::ranges::all_of(call.lengths, [](Index n) { return n > 0 && n < (Index{1} << 31); });
  if (!lengths_fit || std::accumulate(call.lengths.begin(), call.lengths.end(), Index{0}) != call.rows())
    throw request_error("golden.format", fmt::format("call {}: lengths and tokens contradict", in_quotes(call.label)));
  if (std::ranges::any_of(call.logit_positions, [&](std::int32_t row) { return row < 0 || row >= call.rows(); }))
    throw request_error("golden.format",
                        fmt::format("call {}: logit_positions beyond its rows", in_quotes(call.label)));
  // Replicas of a sequence are numbered from a multiple of its id.
  if (std::ranges::any_of(call.ids, [](SeqId id) { return id < 0 || id > (SeqId{1} << 32U); }))
    throw request_error("golden.format", fmt::format("call {}: sequence ids beyond 0..2^32", in_quotes(call.label)));
  return call;
}

Story story_from(const json& from) {
  Story story;
  story.name = from.at("name").get<std::string>();
  const json& limits = from.at("limits");
  const auto limit = [&](const char* field) {
    (void)limits.at(field);
    return bounded(limits, field);
  };
  story.limits = {limit("max_batch_size"), limit("max_total_seq_len"), limit("prefill_chunk_size"), limit("page_size"),
                  limits.value("support_sliding_window", false)};
  for (const json& call : from.at("calls")) story.calls.push_back(call_from(call));
  return story;
}

// What goes wrong inside names `where`.
template <class Parse>
auto in_context(const std::string& where, const char* what, const Parse& parse) {
  try {
    return parse();
  } catch (const json::exception& error) {
    throw request_error("golden.format",
                        fmt::format("{}: {} is not what mlbench writes: {}", where, what, one_line(error.what())));
  } catch (const Error& error) {
    throw request_error("golden.format", fmt::format("{}: {}: {}", where, what, error.message()));
  }
}

}  // namespace

ordered_json plan_json(const Plan& plan) {
  ordered_json stories = ordered_json::array();
  for (const Story& story : plan) {
    ordered_json calls = ordered_json::array();
    for (const Call& call : story.calls) calls.push_back(to_json(call));
    ordered_json limits = {{"max_batch_size", story.limits.max_batch_size},
                           {"max_total_seq_len", story.limits.max_total_seq_len},
                           {"prefill_chunk_size", story.limits.prefill_chunk_size},
                           {"page_size", story.limits.page_size}};
    if (story.limits.support_sliding_window) limits["support_sliding_window"] = true;
    stories.push_back({{"name", story.name}, {"limits", limits}, {"calls", calls}});
  }
  return {{"stories", stories}};
}

Plan parse_plan(const std::string& text, const std::string& where) {
  return in_context(where, "the plan", [&] {
    Plan plan;
    const json parsed = parse_json(text, "text", "golden.format", "golden.format");
    for (const json& story : parsed.at("stories")) plan.push_back(story_from(story));
    return plan;
  });
}

ordered_json arithmetic_json(const backends::Arithmetic& a) {
  return {{"weights", name(a.weights)},
          {"activations", name(a.activations)},
          {"kv_cache", name(a.kv_cache)},
          {"logits", name(a.logits)},
          {"product_inputs", name(a.product_inputs)},
          {"attention_inputs", name(a.attention_inputs)},
          {"accumulation", name(a.accumulation)},
          {"product_sums", to_json(a.product_sums)},
          {"attention_sums", to_json(a.attention_sums)},
          {"rope_angles", a.f32_rope_angles ? "f32" : "exact"}};
}

backends::Arithmetic parse_arithmetic(const std::string& text, const std::string& where) {
  return in_context(where, "the arithmetic", [&] {
    const json parsed = parse_json(text, "text", "golden.format", "golden.format");
    const auto type = [&](const char* field) {
      const auto word = parsed.at(field).get<std::string>();
      const auto dtype = parse_dtype(word);
      if (!dtype) throw request_error("golden.format", fmt::format("{} {}", field, in_quotes(word)));
      return *dtype;
    };
    const auto angles = parsed.at("rope_angles").get<std::string>();
    if (angles != "f32" && angles != "exact")
      throw request_error("golden.format", fmt::format("rope_angles {}", in_quotes(angles)));
    return backends::Arithmetic{.weights = type("weights"),
                                .activations = type("activations"),
                                .kv_cache = type("kv_cache"),
                                .logits = type("logits"),
                                .product_inputs = type("product_inputs"),
                                .attention_inputs = type("attention_inputs"),
                                .accumulation = type("accumulation"),
                                .product_sums = summation_from(parsed.at("product_sums")),
                                .attention_sums = summation_from(parsed.at("attention_sums")),
                                .f32_rope_angles = angles == "f32"};
  });
}

}  // namespace mlbench::harness
