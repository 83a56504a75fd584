// mlbench golden check: whether a golden is whole.
#include <cstdint>
#include <memory>

#include <fmt/format.h>

#include "cli/golden.h"
#include "golden/own_layout.h"

namespace mlbench::cli {
namespace {

using golden::GoldenFile;
using golden::ValueKind;

struct Tally {
  std::size_t datasets = 0;
  std::uint64_t bytes = 0;

  template <class T>
  void add(const Tensor<T>& values) {
    ++datasets;
    bytes += static_cast<std::uint64_t>(values.size()) * sizeof(T);
  }
};

std::string check_own(GoldenFile& file) {
  golden::OwnGolden own(file);
  Tally tally;
  for (const golden::StepInfo& step : own.steps()) {
    tally.add(own.positions(step));
    tally.add(own.sequence(step));
    for (const auto& [tap, dataset] : step.taps) tally.add(own.tap(step, tap));
    for (const auto& [tap, dataset] : step.limits) tally.add(own.limits(step, tap));
  }
  return fmt::format("all digests hold: {} steps, {} datasets, {} of values", own.steps().size(), tally.datasets,
                     bytes_text(tally.bytes));
}

std::string check_hf(GoldenFile& file) {
  const golden::HfGolden hf = read_hf_golden(file);
  Tally tally;
  std::size_t unread = 0;
  for (const golden::DatasetInfo& dataset : file.info().datasets) {
    if (dataset.kind == ValueKind::real) tally.add(file.read(dataset));
    if (dataset.kind == ValueKind::integer) tally.add(file.read_integers(dataset));
    if (dataset.kind == ValueKind::other) ++unread;
  }
  std::string text = fmt::format(
      "Hugging Face's layout, which has no digests: inputs are consistent, and all {} datasets can be read, {} of "
      "values",
      tally.datasets, bytes_text(tally.bytes));
  if (!hf.unmapped.empty()) text += fmt::format("; of {} no tap is known", hf.unmapped.size());
  if (unread > 0) text += fmt::format("; {} more hold no numbers", unread);
  return text;
}

int check(const std::string& path) {
  GoldenFile file(path);
  print(fmt::format("{}: {}\n", cell_text(path, 1000), is_own_layout(file) ? check_own(file) : check_hf(file)));
  return 0;
}

}  // namespace

void add_golden_check(CLI::App& golden, Action& action) {
  auto path = std::make_shared<std::string>();
  CLI::App* command = golden.add_subcommand("check", "Read all of a golden and verify its digests");
  command->add_option("FILE", *path, "HDF5 file")->required();
  command->footer(
      "Exit codes: 0 whole, 2 damaged, changed, or no golden.\n"
      "Example: mlbench golden check llama-tiny.h5");
  command->callback([path, &action] { action = [path] { return check(*path); }; });
}

}  // namespace mlbench::cli
