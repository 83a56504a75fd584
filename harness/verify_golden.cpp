#include "harness/verify_golden.h"

#include <algorithm>
#include <cmath>
#include <set>

#include <fmt/format.h>

#include "core/error.h"
#include "golden/hf_layout.h"
#include "harness/golden_run.h"

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

std::string describe_element(const TapSpec& spec, Index column, Index head) {
  switch (spec.layout) {
    case TapLayout::rows: return fmt::format("[{}]", column);
    case TapLayout::heads: return fmt::format("head {} [{}]", head, column);
    case TapLayout::probs: return fmt::format("head {} key {}", head, column);
  }
  return "";
}

TapResult with_figures(const Comparison& c, Index elements) {
  TapResult result;
  result.elements = elements;
  result.straying = c.straying;
  result.max_error = c.max_error;
  result.max_expected = c.max_expected;
  result.limit = c.limit;
  result.passed = c.passed;
  return result;
}

// Compares each tap with the datasets that hold it, as soon as it is computed.
class Comparer final : public RunListener {
 public:
  Comparer(const Model& model, golden::GoldenFile& file, const golden::HfGolden& golden, const GoldenOptions& options,
           GoldenVerification& out)
      : file_(file), golden_(golden), options_(options), specs_(tap_specs(model.config)), out_(out) {}

  [[nodiscard]] bool wants(const RunStep& step, TapId tap) const override {
    if (step.part && spec(tap.tap).layout != TapLayout::rows)
      return false;  // a piece's rows are cut out of the whole's
    return std::ranges::any_of(golden_.results,
                               [&](const Result& result) { return result.step == step.step && result.tap == tap; });
  }

  void take(const RunStep& step, TapId id, const Tensor& value) override {
    for (const Result& result : golden_.results) {
      if (result.step == step.step && result.tap == id) compare_dataset(step, id, *result.dataset, value);
    }
  }

  void take_selected_logits(const RunStep& step, const Tensor& logits) override {
    compare_dataset(step, {Tap::logits, -1}, *golden_.batch_prefill_logits, logits);
  }

  [[nodiscard]] const std::set<std::string>& compared() const { return compared_; }

 private:
  [[nodiscard]] const TapSpec& spec(Tap tap) const {
    return *std::ranges::find_if(specs_, [&](const TapSpec& s) { return s.tap == tap; });
  }

  // The golden's values of this call, in the tap's layout.
  const Tensor& expected_values(const RunStep& step, const TapSpec& spec, const DatasetInfo& dataset,
                                const Shape& shape) {
    const bool same = dataset.object == cached_object_ && cached_.shape() == shape;  // links may join unequal taps
    if (same && !step.part && !cached_part_) return cached_;
    if (!step.part && element_count(dataset.shape) > element_count(shape)) {  // not worth its memory
      throw request_error("golden.shape",
                          fmt::format("{}: dataset {} has shape {}: the model gives {}", file_.path(),
                                      in_quotes(dataset.path), to_string(dataset.shape), to_string(shape)));
    }
    Tensor values = file_.read(dataset);
    if (step.part) {
      const Index rows = shape[0];
      if (values.cols() != shape[1] || values.rows() < step.first_row + rows) {
        throw request_error("golden.shape",
                            fmt::format("{}: dataset {} has shape {}: expected rows of {}", file_.path(),
                                        in_quotes(dataset.path), to_string(values.shape()), shape[1]));
      }
      Tensor part(shape);
      std::copy_n(values.row(step.first_row).begin(), part.size(), part.values().begin());
      cached_ = std::move(part);
    } else {
      // Rows of story one are `sequences` prompts of one length; those of story two stand as they are.
      const bool one = step.step.group == golden::Group::prefill || step.step.group == golden::Group::decode;
      cached_ = golden::to_tap_layout(values, dataset, shape, spec.layout, one ? step.sequences : 1, file_.path());
    }
    cached_object_ = dataset.object;
    cached_part_ = step.part;
    return cached_;
  }

  void compare_dataset(const RunStep& step, TapId id, const DatasetInfo& dataset, const Tensor& got) {
    const TapSpec& tap = spec(id.tap);
    const Tensor& expected = expected_values(step, tap, dataset, got.shape());
    const Comparison c = compare(expected.values(), got.values(), options_.rtol);
    TapResult result = with_figures(c, got.size());
    result.method = step.method;
    result.step = step.label;
    result.dataset = dataset.path;
    result.tap = to_string(id);
    result.layer = id.layer;
    if (!c.passed) {
      const Index row = c.worst / got.cols();  // rows: t; heads and probabilities: h * T + t
      const auto t = static_cast<std::size_t>(tap.layout == TapLayout::rows ? row : row % got.dim(1));
      const Index head = tap.layout == TapLayout::rows ? 0 : row / got.dim(1);
      result.worst = Mismatch{.batch_row = step.row_sequence[t],
                              .position = step.positions[t],
                              .element = describe_element(tap, c.worst % got.cols(), head),
                              .expected = expected.values()[static_cast<std::size_t>(c.worst)],
                              .computed = got.values()[static_cast<std::size_t>(c.worst)]};
    }
    out_.taps.push_back(std::move(result));
    if (!step.part) compared_.insert(dataset.path);
    if (options_.progress) {
      const auto total = static_cast<double>(std::max<Index>(1, golden_.num_results));
      options_.progress(step.label + " " + to_string(id), static_cast<double>(compared_.size()) / total);
    }
  }

  golden::GoldenFile& file_;
  const golden::HfGolden& golden_;
  const GoldenOptions& options_;
  std::vector<TapSpec> specs_;
  GoldenVerification& out_;
  std::set<std::string> compared_;
  // Names of the same values follow each other; they are read once.
  std::uint64_t cached_object_ = 0;
  bool cached_part_ = false;
  Tensor cached_;
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
    run_golden(reference, golden, comparer);
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
