// How sound and how sharp the error bounds are. Sound: honest runs of a backend on random shapes, seeds and types
// are counted, and so are their alarms; any is a fault. Sharp: by operator, how far below its bound an honest error is,
// and the smallest mistake that a run is sure to show: a tap scaled by 1 + delta errs by at least delta |y| - bound, so
// delta > 2 bound / |y| in one element is enough. docs/error-bounds.md shows the command and its figures.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "backends/registry.h"
#include "harness/cases.h"
#include "harness/chained.h"
#include "harness/isolated.h"
#include "harness/selftest/subject.h"
#include "models/presets.h"
#include "models/synthetic.h"
#include "models/tensor_inventory.h"

namespace mlbench::harness {
namespace {

// What honest checks of one operator in one type came to.
struct Operator {
  std::vector<double> ratios;   // of a check: the largest error / bound
  std::vector<double> whole;    // of a check: the smallest scaling of the whole tap that surely shows
  std::vector<double> element;  // of a check: the median over elements of the same for one element alone
};

double quantile(std::vector<double> values, double q) {
  if (values.empty()) return 0.0;
  const auto at = static_cast<std::ptrdiff_t>(q * static_cast<double>(values.size() - 1));
  std::nth_element(values.begin(), values.begin() + at, values.end());
  return values[static_cast<std::size_t>(at)];
}

class Figures {
 public:
  void see(DType dtype, const std::string& name, const TapCheck& check, const Sight& sight) {
    ++checks_;
    if (!check.passed) ++alarms_;
    Operator& into = operators_[{name, dtype}];
    into.ratios.push_back(check.ratio);
    std::vector<double> needed;
    for (Index i = 0; i < sight.expected.size(); ++i) {
      const double y = std::fabs(sight.expected.values()[static_cast<std::size_t>(i)]);
      if (y > 0.0) needed.push_back(2.0 * sight.limit(i) / y);
    }
    if (needed.empty()) return;
    into.whole.push_back(*std::ranges::min_element(needed));
    into.element.push_back(quantile(needed, 0.5));
  }
  void see_chained(const TapCheck& check) {
    ++checks_;
    if (!check.passed) ++alarms_;
  }

  [[nodiscard]] Index alarms() const { return alarms_; }

  void print(int runs) const {
    fmt::print("{:28} {:5} {:>7} {:>10} {:>10} {:>10} {:>13} {:>13}\n", "operator", "dtype", "checks", "median", "95%",
               "largest", "whole tap", "one element");
    for (const auto& [key, o] : operators_) {
      fmt::print("{:28} {:5} {:7} {:10.3g} {:10.3g} {:10.3g} {:13.3g} {:13.3g}\n", key.first, name(key.second),
                 o.ratios.size(), quantile(o.ratios, 0.5), quantile(o.ratios, 0.95), quantile(o.ratios, 1.0),
                 quantile(o.whole, 0.5), quantile(o.element, 0.5));
    }
    fmt::print("{} runs, {} checks, {} alarms\n", runs, checks_, alarms_);
  }

 private:
  std::map<std::pair<std::string, DType>, Operator> operators_;
  Index checks_ = 0, alarms_ = 0;
};

// Numbers from a seed, one after the other.
class Dice {
 public:
  explicit Dice(std::uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15ULL + 1) {}
  Index between(Index low, Index high) {
    state_ = state_ * 6364136223846793005ULL + 1442695040888963407ULL;
    return low + static_cast<Index>((state_ >> 33U) % static_cast<std::uint64_t>(high - low + 1));
  }
  template <class T>
  T one_of(const std::vector<T>& from) {
    return from[static_cast<std::size_t>(between(0, static_cast<Index>(from.size()) - 1))];
  }

 private:
  std::uint64_t state_;
};

ModelConfig random_config(Dice& dice) {
  ModelConfig c =
      preset_config(small_preset(dice.one_of(std::vector(std::begin(kArchitectures), std::end(kArchitectures)))));
  const bool llama = c.architecture == Architecture::llama;
  const bool grouped = llama || c.architecture == Architecture::olmo;
  c.num_layers = dice.between(1, 2);
  c.head_dim = dice.one_of<Index>({4, 8, 16, 24, 32, 64});
  const Index group = dice.between(1, 4);
  c.num_kv_heads = dice.between(1, 3);
  c.num_heads = c.num_kv_heads * group;
  if (!grouped) c.num_kv_heads = c.num_heads;
  if (c.architecture == Architecture::gpt_bigcode && c.multi_query) c.num_kv_heads = 1;
  // As likely between 8 and 16 as between 256 and 512.
  const auto size = [&] { return static_cast<Index>(std::exp2(static_cast<double>(dice.between(300, 900)) / 100.0)); };
  c.hidden_size = llama ? size() : c.num_heads * c.head_dim;
  c.intermediate_size = size();
  c.vocab_size = dice.between(40, 500);
  c.rope.rotary_dim = c.architecture == Architecture::phi ? c.head_dim / 2 : c.head_dim;
  return c;
}

std::string terms(Index k) { return k <= 32 ? "K<=32" : k <= 128 ? "K<=128, >32" : "K>128"; }

// The operator of a tap: products by how many terms they sum.
std::string operator_name(const TapCheck& check, const ModelConfig& config) {
  const auto width = [&](Index k) { return fmt::format("{} {}", check.kind, terms(k)); };
  if (check.kind.ends_with("_proj") || check.kind == "mlp.gate" || check.kind == "mlp.up" || check.kind == "logits")
    return width(config.hidden_size);
  if (check.kind == "attn.out") return width(config.q_width());
  if (check.kind == "mlp.out") return width(config.intermediate_size);
  return check.kind;
}

// Rows with the signs of one row of the output layer each: the terms of that row's sum have one sign.
ref::Tensor same_sign_rows(const WeightView& weights, Index rows, Dice& dice) {
  ref::Tensor out(Shape{rows, weights.cols});
  std::vector<double> row(static_cast<std::size_t>(weights.cols));
  for (Index r = 0; r < rows; ++r) {
    weights.widen_row(r % weights.rows, row);
    for (std::size_t i = 0; i < row.size(); ++i)
      out.row(r)[i] = std::copysign(0.25 + static_cast<double>(dice.between(0, 1000)) / 500.0, row[i]);
  }
  return out;
}

// Element r of each row r, as a column.
ref::Tensor diagonal(const ref::Tensor& x) {
  ref::Tensor out(Shape{x.rows(), 1});
  for (Index r = 0; r < x.rows(); ++r) out.row(r)[0] = x.row(r)[static_cast<std::size_t>(r % x.cols())];
  return out;
}

void same_signs(const ref::Reference& reference, backends::Session& session, const ErrorModel& errors, DType dtype,
                Dice& dice, Figures& figures) {
  const ModelConfig& config = reference.config();
  const HostTensor x(session.arithmetic().activations,
                     same_sign_rows(errors.model().weights->get(kLmHeadName), 16, dice));
  HostTensor out(DType::f32, {x.shape()[0], config.vocab_size});
  session.get_logits(x.view(), out.view());
  const ref::Tensor rows = x.widened(), all = reference.get_logits(rows);
  const ref::Tensor exact = diagonal(all), got = diagonal(out.widened());
  const ref::Tensor limits = diagonal(errors.bound({Tap::logits, -1}, all, {{kPartInput, {rows, {}}}}, {}));
  Call call;
  call.ids = {0};
  const auto count = static_cast<std::size_t>(rows.rows());
  const TapPlace place{
      VerifyMode::isolated, Inputs::random, &call, {std::vector<std::int32_t>(count), std::vector<Index>(count)}};
  const std::function<double(Index)> limit = limit_by_element(limits);
  const TapCheck check = check_tap(place, spec_of(tap_specs(config), Tap::logits), {Tap::logits, -1},
                                   errors.type_of(Tap::logits), exact, got, limit);
  figures.see(dtype, fmt::format("logits {} same sign", terms(config.hidden_size)), check,
              {TapLayout::rows, exact, got, limit});
}

void run(std::uint64_t seed, backends::Backend& backend, Workers& workers, Figures& figures) {
  Dice dice(seed);
  const ModelConfig config = random_config(dice);
  auto dtype = dice.one_of<DType>({DType::f32, DType::bf16, DType::f16});
  if (!backend.supports(config, {.dtype = dtype})) dtype = DType::f32;
  const auto inputs = dice.one_of<Inputs>({Inputs::random, Inputs::random, Inputs::adversarial});
  const Plan plan = make_plan(config, Extent::quick, seed, {dice.between(1, 40), dice.between(1, 20)});
  const Model model = make_synthetic(config, dtype, seed, workers);
  const ref::Reference reference(model, workers);
  const auto session = backend.load(model, {.dtype = dtype, .threads = workers.count()});
  const ErrorModel errors(model, session->arithmetic(), workers);
  const auto blame = [&](const TapCheck& check) {
    if (check.passed) return;
    fmt::print("alarm: seed {}, {} {}, {} {} {}: {} of {}\n", seed, name(config.architecture), name(dtype),
               name(check.mode), check.call, check.tap, check.error, check.limit);
  };
  const Report isolated = [&](const TapCheck& check, const Sight* sight) {
    blame(check);
    if (sight != nullptr) figures.see(dtype, operator_name(check, config), check, *sight);
  };
  const Report chained = [&](const TapCheck& check, const Sight*) {
    blame(check);
    figures.see_chained(check);
  };
  ChainedOptions options;
  options.inputs = inputs;
  options.seed = seed;
  for (const Story& story : plan) {
    verify_isolated(story, reference, errors, *session, {inputs, nullptr}, isolated);
    verify_chained(story, reference, errors, *session, options, chained);
  }
  same_signs(reference, *session, errors, dtype, dice, figures);
}

}  // namespace
}  // namespace mlbench::harness

int main(int argc, char** argv) {
  using namespace mlbench;
  CLI::App app("Counts alarms of honest runs, and measures how sharp the error bounds are", "soundness");
  int runs = 1000, threads = Workers::hardware();
  std::uint64_t seed = 1;
  app.add_option("--runs", runs, "Seeded runs")->capture_default_str();
  app.add_option("--seed", seed, "The first seed")->capture_default_str();
  std::string which = "cpu";
  app.add_option("--backend", which, "cpu, or plain: the selftest's float32 loops, which sum in one order (no f16)")
      ->check(CLI::IsMember({"cpu", "plain"}))
      ->capture_default_str();
  app.add_option("--threads", threads, "Threads")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  const auto entries = backends::built_in();
  const auto backend =
      which == "plain" ? selftest::make_subject() : std::ranges::find(entries, "cpu", &backends::Entry::name)->make();
  Workers workers(threads);
  harness::Figures figures;
  for (int i = 0; i < runs; ++i) harness::run(seed + static_cast<std::uint64_t>(i), *backend, workers, figures);
  figures.print(runs);
  return figures.alarms() == 0 ? 0 : 1;
}
