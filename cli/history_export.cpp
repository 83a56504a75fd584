// mlbench history export: runs as files that others read.
#include <filesystem>
#include <functional>
#include <memory>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "cli/history.h"
#include "cli/store_options.h"
#include "core/error.h"
#include "core/file_map.h"
#include "reports/bench_report.h"

namespace mlbench::cli {
namespace {

namespace fs = std::filesystem;
using reports::RunHead;
using reports::Store;
using reports::StoredKind;

struct Options {
  std::string store;
  RunFilterOptions filter;
  std::vector<reports::RunId> ids;
  std::string out, format = "json";
};

struct Format {
  const char* name;
  const char* extension;
  std::string (*render)(const BenchRun&);  // null: of every kind of run
};
constexpr Format kFormats[] = {{"json", "json", nullptr},
                               {"csv", "csv", reports::to_csv},
                               {"google-benchmark", "json", reports::to_google_benchmark},
                               {"llama-bench", "jsonl", reports::to_llama_bench},
                               {"open-metrics", "txt", reports::to_open_metrics},
                               {"markdown", "md", reports::to_markdown},
                               {"junit", "xml", reports::to_junit}};

const Format& format_of(const std::string& name) {
  for (const Format& format : kFormats) {
    if (name == format.name) return format;
  }
  throw request_error("usage", fmt::format("--format {}: is not known", in_quotes(name)));
}

std::string csv_text(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string out = "\"";
  for (const char c : text) out += c == '"' ? "\"\"" : std::string(1, c);
  return out + "\"";
}

// A line for each tap, layer and mode.
std::string verification_csv(const Store& store, const RunHead& head) {
  const auto parts = store.verifications({.ids = {head.id}});
  std::string out =
      "run,started,revision,model,architecture,backend,device,dtype,mode,tap,layer,ratio,error,limit,failed\n";
  for (const reports::StoredTap& t : store.taps({.ids = {head.id}})) {
    const reports::StoredVerification& v = parts.at(static_cast<std::size_t>(t.part));
    out += fmt::format("{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}\n", head.id, head.started, csv_text(head.revision),
                       csv_text(v.model), csv_text(v.architecture), csv_text(v.backend), csv_text(v.device),
                       csv_text(v.dtype), t.mode, csv_text(t.kind), t.layer < 0 ? "" : fmt::format("{}", t.layer),
                       t.ratio, t.error, t.limit, t.failed);
  }
  return out;
}

std::string text_of(const Store& store, const RunHead& head, const Format& format) {
  const std::string document = store.document(head.id);
  if (std::string_view(format.name) == "json") return document;
  if (head.kind == StoredKind::benchmark)
    return format.render(reports::read_bench_run(document, fmt::format("run {}", head.id)));
  if (std::string_view(format.name) == "csv") return verification_csv(store, head);
  throw request_error("usage", fmt::format("--format {}: run {} is a verification, which is exported as json or csv",
                                           format.name, head.id));
}

int export_runs(const Options& options) {
  const Format& format = format_of(options.format);
  if (options.ids.empty() && !options.filter.given())
    throw request_error("usage", "history export: name runs by their numbers or by options (--last 1)");
  const Store store = open_store(options.store, Store::Access::read);
  reports::RunFilter filter = options.filter.filter();
  filter.ids = options.ids;
  const auto heads = store.runs(filter);
  require_runs(store, options.ids);
  if (heads.empty()) throw request_error("store.missing", "history export: no run is such");
  const bool folder = fs::is_directory(options.out);
  if (heads.size() > 1 && !folder)
    throw request_error("usage",
                        fmt::format("-o {}: must be a folder that is there, for {}",
                                    options.out.empty() ? "FOLDER" : in_quotes(options.out), runs_text(heads.size())));
  if (!options.out.empty() && !folder) require_writable(options.out);
  std::vector<std::string> texts;  // all of them, before the first is written
  for (const RunHead& head : heads) texts.push_back(text_of(store, head, format));
  for (std::size_t i = 0; i < heads.size(); ++i) {
    if (options.out.empty()) {
      print(texts[i]);
      continue;
    }
    const std::string file =
        folder ? (fs::path(options.out) / fmt::format("run-{}.{}", heads[i].id, format.extension)).string()
               : options.out;
    write_file_whole(file, texts[i]);
    fmt::print(stderr, "mlbench: run {} written to {}\n", heads[i].id, one_line(file));
  }
  return 0;
}

}  // namespace

void add_history_export(CLI::App& history, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* command = history.add_subcommand("export", "Write runs as files");
  add_store_option(*command, options->store);
  command->add_option("ID", options->ids, "Numbers of runs (mlbench history list)");
  options->filter.add_to(*command);
  command->add_option("-o,--output", options->out, "A file, or a folder for several runs; default: standard output")
      ->type_name("FILE|FOLDER");
  std::vector<std::string> names;
  for (const Format& format : kFormats) names.emplace_back(format.name);
  command
      ->add_option("--format", options->format,
                   fmt::format("{}; of verifications json and csv", fmt::join(names, ", ")))
      ->check(CLI::IsMember(names))
      ->capture_default_str();
  command->footer(
      "json is the document as it was written, byte for byte; mlbench history import takes it back.\n"
      "Example: mlbench history export 12 --format csv -o run.csv\n"
      "         mlbench history export --since 2026-11-01 --kind bench -o november");
  command->callback([options, &action] { action = [options] { return export_runs(*options); }; });
}

}  // namespace mlbench::cli
