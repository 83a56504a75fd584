#include "harness/verify_golden.h"

#include <algorithm>
#include <cmath>
#include <set>

#include <fmt/format.h>

#include "core/error.h"
#include "golden/hf_layout.h"
#include "harness/check_tap.h"
#include "harness/golden_run.h"
#include "harness/golden_values.h"

namespace mlbench::harness {
namespace {

using golden::DatasetInfo;
using golden::Result;
using ref::Tensor;

void require_same_architecture(const Model& model, const golden::GoldenFile& file) {
  const auto stated = file.attribute("architecture");
  const std::string_view own = hf_class_name(model.config.architecture);
  if (!stated || *stated == own) return;
  throw request_error("golden.model",
                      fmt::format("{}: was computed for {}, the model is {}", file.path(), in_quotes(*stated), own));
}

// Compares each tap with the datasets that hold it, as soon as it is computed.
class Comparer final : public RunListener {
 public:
  Comparer(const Model& model, golden::GoldenFile& file, const golden::HfGolden& golden, const GoldenOptions& options,
           GoldenVerification& out)
      : golden_(golden), options_(options), specs_(tap_specs(model.config)), out_(out), values_(file) {}

  [[nodiscard]] bool wants(const RunStep& step, TapId tap) const override {
    if (step.rows.part && spec(tap.tap).layout != TapLayout::rows)
      return false;  // a piece's rows are cut out of the whole's
    return std::ranges::any_of(
        golden_.results, [&](const Result& result) { return result.step == step.rows.step && result.tap == tap; });
  }

  void take(const RunStep& step, TapId id, const Tensor& value) override {
    for (const Result& result : golden_.results) {
      if (result.step == step.rows.step && result.tap == id) compare_dataset(step, id, *result.dataset, value);
    }
  }

  void take_selected_logits(const RunStep& step, const Tensor& logits) override {
    compare_dataset(step, {Tap::logits, -1}, *golden_.batch_prefill_logits, logits);
  }

  [[nodiscard]] const std::set<std::string>& compared() const { return compared_; }

 private:
  [[nodiscard]] const TapSpec& spec(Tap tap) const { return spec_of(specs_, tap); }

  void compare_dataset(const RunStep& step, TapId id, const DatasetInfo& dataset, const Tensor& got) {
    const TapSpec& tap = spec(id.tap);
    const Tensor& expected = values_.read(dataset, step.rows, step.sequences, tap, got.shape());
    const Comparison c = compare(expected.values(), got.values(), options_.rtol);
    TapResult result = tap_result(c, tap, id, expected, got, {step.positions, step.row_sequence});
    result.method = step.rows.method;
    result.step = step.label;
    result.dataset = dataset.path;
    out_.taps.push_back(std::move(result));
    if (!step.rows.part) compared_.insert(dataset.path);
    if (options_.progress) {
      const auto total = static_cast<double>(std::max<Index>(1, golden_.num_results));
      options_.progress(step.label + " " + to_string(id), static_cast<double>(compared_.size()) / total);
    }
  }

  const golden::HfGolden& golden_;
  const GoldenOptions& options_;
  std::vector<TapSpec> specs_;
  GoldenVerification& out_;
  std::set<std::string> compared_;
  GoldenValues values_;
};

// What a golden states beside its inputs: the rotary frequencies and what multiplies cosine and sine. They are no taps,
// and rope.cos and rope.sin follow from them; they come last, so that a run that strays is told by the taps first.
// Kinds whose frequencies follow the length of each call have no single set.
void check_rope(const Model& model, golden::GoldenFile& file, const GoldenOptions& options, GoldenVerification& out) {
  const RopeKind kind = model.config.rope.kind;
  if (kind == RopeKind::none || kind == RopeKind::dynamic || kind == RopeKind::longrope) return;
  const ref::Rope rope(model.config.rope, options.rope_compat);
  const auto check = [&](const char* path, const char* name, const std::vector<double>& own) {
    const DatasetInfo* dataset = file.find(path);
    if (dataset == nullptr) return;
    const Tensor stated = file.read(*dataset);
    if (stated.size() != static_cast<Index>(own.size())) {
      throw request_error("golden.shape", fmt::format("{}: dataset {} has {} values: the model has {}", file.path(),
                                                      in_quotes(path), stated.size(), own.size()));
    }
    const Comparison c = compare(stated.values(), own, options.rtol);
    TapResult result = with_figures(c, stated.size());
    result.method = "none";
    result.step = "rope";
    result.dataset = path;
    result.tap = name;
    if (!c.passed) {
      const auto worst = static_cast<std::size_t>(c.worst);
      result.worst =
          Mismatch{.element = fmt::format("[{}]", worst), .expected = stated.values()[worst], .computed = own[worst]};
      out.notes.push_back(
          fmt::format("{} [{}], from which rope.cos and rope.sin are made: golden {:.17g}, computed {:.17g}", path,
                      worst, stated.values()[worst], own[worst]));
    }
    out.taps.push_back(std::move(result));
  };
  check("/rope/inv_freq", "rope.inv_freq", rope.frequencies(1));
  check("/rope/attention_scaling", "rope.attention_scaling", {rope.attention_scaling()});
}

}  // namespace

GoldenVerification verify_golden(const Model& model, golden::GoldenFile& file, Workers& workers,
                                 const GoldenOptions& options) {
  require_same_architecture(model, file);
  const golden::HfGolden golden = golden::read_hf_layout(file);
  GoldenVerification out;
  out.model = model.origin;
  out.architecture = name(model.config.architecture);
  out.golden = file.path();
  out.backend = "reference";
  out.dtype = "f64";
  out.rtol = options.rtol;
  out.warnings = model.warnings;
  out.result_datasets = golden.num_results;

  const ref::Reference reference(model, workers, options.rope_compat);
  Comparer comparer(model, file, golden, options, out);
  try {
    run_golden(reference, plan_of(golden, model.config), comparer);
  } catch (const Error& error) {  // the golden's inputs ask for what the model cannot do
    if (error.kind() != ErrorKind::request || error.message().starts_with(file.path())) throw;
    throw request_error(error.code(), fmt::format("{}: {}", file.path(), error.message()));
  }
  check_rope(model, file, options, out);

  out.compared_datasets = static_cast<Index>(comparer.compared().size());
  for (const golden::Unmapped& unmapped : golden.unmapped)
    out.uncompared.push_back({unmapped.dataset, unmapped.reason});
  for (const Result& result : golden.results) {
    if (comparer.compared().contains(result.dataset->path)) continue;
    const std::string reason = fmt::format("the model has no tap {}", to_string(result.tap));
    out.uncompared.push_back({result.dataset->path, reason});
  }
  return out;
}

}  // namespace mlbench::harness
