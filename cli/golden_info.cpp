// mlbench golden info: what a golden holds.
#include <filesystem>
#include <memory>
#include <set>

#include <fmt/format.h>

#include "cli/golden.h"
#include "core/error.h"
#include "core/json.h"
#include "golden/own_layout.h"
#include "reports/table.h"

namespace mlbench::cli {
namespace {

using golden::DatasetInfo;
using golden::GoldenFile;
using nlohmann::ordered_json;
using reports::Align;
using reports::Table;

struct Options {
  std::string path;
  bool json = false;
};

// Bytes of values, as they are read and as they are stored.
struct Size {
  std::uint64_t values = 0, stored = 0;

  void add(const Size& other) {
    values += other.values;
    stored += other.stored;
  }
};

Size size_of(GoldenFile& file, const DatasetInfo& dataset) {
  if (dataset.kind == golden::ValueKind::other) return {};
  return {static_cast<std::uint64_t>(element_count(dataset.shape)) * sizeof(double), file.stored_bytes(dataset)};
}

// Values under several names count once.
Size size_of_all(GoldenFile& file) {
  Size size;
  std::set<std::uint64_t> seen;
  for (const DatasetInfo& dataset : file.info().datasets) {
    if (seen.insert(dataset.object).second) size.add(size_of(file, dataset));
  }
  return size;
}

ordered_json dataset_json(GoldenFile& file, const DatasetInfo& dataset) {
  const Size size = size_of(file, dataset);
  return {{"dataset", dataset.path}, {"shape", dataset.shape}, {"bytes", size.values}, {"stored_bytes", size.stored}};
}

std::string headline(GoldenFile& file, const std::string& layout) {
  const Size size = size_of_all(file);
  return fmt::format("{}: {}: {} datasets, {} of values, stored in {}\n\n", cell_text(file.path(), 1000), layout,
                     file.info().datasets.size(), bytes_text(size.values), bytes_text(size.stored));
}

ordered_json headline_json(GoldenFile& file, const char* layout) {
  const Size size = size_of_all(file);
  return {{"file", file.path()},
          {"layout", layout},
          {"datasets", file.info().datasets.size()},
          {"bytes", size.values},
          {"stored_bytes", size.stored},
          {"file_bytes", std::filesystem::file_size(file.path())}};
}

std::string attributes_text(const golden::Attributes& attributes) {
  Table table({{"attribute", Align::left}, {"value", Align::left}});
  for (const auto& [name, value] : attributes) table.add({cell_text(name), cell_text(value)});
  return attributes.empty() ? "" : table.text() + "\n";
}

// One row for each tap, its layers together.
class TapTable {
 public:
  void add(TapId id, const DatasetInfo& dataset, const Size& size) {
    Row& row = rows_[id.tap];
    if (row.count++ == 0) row.shape = dataset.shape;
    row.size.add(size);
  }

  [[nodiscard]] std::string text() const {
    Table table({{"tap", Align::left},
                 {"first shape", Align::left},
                 {"datasets", Align::right},
                 {"values", Align::right},
                 {"stored", Align::right}});
    for (const auto& [tap, row] : rows_) {
      table.add({fmt::format("{}{}", per_layer(tap) ? "layers.N." : "", name(tap)), to_string(row.shape),
                 fmt::format("{}", row.count), bytes_text(row.size.values), bytes_text(row.size.stored)});
    }
    return table.text();
  }

 private:
  struct Row {
    Shape shape;
    std::size_t count = 0;
    Size size;
  };
  std::map<Tap, Row> rows_;  // in the order of computation
};

// ---- our layout ----

// A text that should be JSON, as JSON where it is.
ordered_json as_json(const std::string& text) {
  try {
    (void)parse_json(text, "", "", "");
    return ordered_json::parse(text);
  } catch (const Error&) {
    return text;
  }
}

std::string own_text(GoldenFile& file) {
  const golden::OwnGolden own(file);
  TapTable taps;
  Table steps({{"step", Align::right},
               {"method", Align::left},
               {"label", Align::left},
               {"rows", Align::right},
               {"taps", Align::right},
               {"with limits", Align::right},
               {"values", Align::right},
               {"stored", Align::right}});
  for (const golden::StepInfo& step : own.steps()) {
    Size total;
    for (const auto& [tap, dataset] : step.taps) {
      const Size size = size_of(file, *dataset);
      total.add(size);
      taps.add(golden::parse_tap(tap).value_or(TapId{}), *dataset, size);
    }
    steps.add({fmt::format("{}", step.index), cell_text(step.method), cell_text(step.label),
               fmt::format("{}", step.positions->shape[0]), fmt::format("{}", step.taps.size()),
               fmt::format("{}", step.limits.size()), bytes_text(total.values), bytes_text(total.stored)});
  }
  return headline(file, "golden of mlbench") + attributes_text(file.info().attributes) + steps.text() + "\n" +
         taps.text();
}

ordered_json own_json(GoldenFile& file) {
  const golden::OwnGolden own(file);
  const golden::Manifest& m = own.manifest();
  ordered_json json = headline_json(file, "mlbench");
  json["format_version"] = golden::kOwnFormatVersion;
  json["program_version"] = m.program_version;
  json["model"] = m.model;
  json["architecture"] = m.architecture;
  json["config"] = as_json(m.config);
  json["weights"] = m.weights;
  json["weights_digest"] = m.weights_digest;
  json["seed"] = m.seed;
  json["dtype"] = m.dtype;
  json["arithmetic"] = as_json(m.arithmetic);
  json["plan"] = as_json(m.plan);
  json["steps"] = ordered_json::array();
  for (const golden::StepInfo& step : own.steps()) {
    ordered_json taps = ordered_json::array();
    for (const auto& [tap, dataset] : step.taps) {
      ordered_json entry{{"tap", tap}};
      entry.update(dataset_json(file, *dataset));
      entry["digest"] = dataset->attributes.at("digest");
      entry["limits"] = step.limits.contains(tap);
      taps.push_back(std::move(entry));
    }
    json["steps"].push_back({{"step", step.index},
                             {"method", step.method},
                             {"label", step.label},
                             {"rows", step.positions->shape[0]},
                             {"taps", std::move(taps)}});
  }
  return json;
}

// ---- Hugging Face's layout ----

bool is_input(const DatasetInfo& dataset) {
  return dataset.path.starts_with("/inputs/") || dataset.path.starts_with("/rope/");
}

std::string hf_text(GoldenFile& file) {
  const golden::HfGolden hf = read_hf_golden(file);
  Table inputs({{"input", Align::left}, {"shape", Align::left}});
  for (const DatasetInfo& dataset : file.info().datasets) {
    if (is_input(dataset)) inputs.add({cell_text(dataset.path), to_string(dataset.shape)});
  }
  TapTable taps;
  std::map<std::pair<golden::Group, Index>, std::pair<std::size_t, Size>> groups;
  for (const golden::Result& result : hf.results) {
    const Size size = size_of(file, *result.dataset);
    taps.add(result.tap, *result.dataset, size);
    auto& [count, total] = groups[{result.step.group, result.step.step}];
    ++count;
    total.add(size);
  }
  Table steps({{"group", Align::left}, {"results", Align::right}, {"values", Align::right}, {"stored", Align::right}});
  for (const auto& [step, counted] : groups) {
    steps.add({golden::to_string(golden::StepId{step.first, step.second}), fmt::format("{}", counted.first),
               bytes_text(counted.second.values), bytes_text(counted.second.stored)});
  }
  std::string text = headline(file, "golden in Hugging Face's layout") + attributes_text(file.info().attributes) +
                     inputs.text() + "\n" + steps.text() + "\n" + taps.text();
  if (!hf.unmapped.empty()) {
    text += fmt::format("\n{} of {} results have no known tap, the first is {}: {}\n", hf.unmapped.size(),
                        hf.num_results, cell_text(hf.unmapped[0].dataset), hf.unmapped[0].reason);
  }
  return text;
}

ordered_json hf_json(GoldenFile& file) {
  const golden::HfGolden hf = read_hf_golden(file);
  ordered_json json = headline_json(file, "huggingface");
  json["attributes"] = file.info().attributes;
  json["inputs"] = ordered_json::array();
  for (const DatasetInfo& dataset : file.info().datasets) {
    if (is_input(dataset)) json["inputs"].push_back(dataset_json(file, dataset));
  }
  json["results"] = ordered_json::array();
  for (const golden::Result& result : hf.results) {
    ordered_json entry{{"step", golden::to_string(result.step)}, {"tap", golden::to_string(result.tap)}};
    entry.update(dataset_json(file, *result.dataset));
    json["results"].push_back(std::move(entry));
  }
  json["unmapped"] = ordered_json::array();
  for (const golden::Unmapped& entry : hf.unmapped)
    json["unmapped"].push_back({{"dataset", entry.dataset}, {"reason", entry.reason}});
  return json;
}

int info(const Options& options) {
  GoldenFile file(options.path);
  const bool own = is_own_layout(file);
  if (options.json) {
    constexpr auto replace = ordered_json::error_handler_t::replace;
    print((own ? own_json(file) : hf_json(file)).dump(1, ' ', false, replace) + "\n");
  } else {
    print(own ? own_text(file) : hf_text(file));
  }
  return 0;
}

}  // namespace

void add_golden_info(CLI::App& golden, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      golden.add_subcommand("info", "What a golden holds and how it was made: ours, or Hugging Face's layout");
  command->add_option("FILE", options->path, "HDF5 file")->required();
  command->add_flag("--json", options->json, "As JSON, for programs");
  command->footer("Values are not read: see mlbench golden check.\nExample: mlbench golden info llama-tiny.h5 --json");
  command->callback([options, &action] { action = [options] { return info(*options); }; });
}

}  // namespace mlbench::cli
