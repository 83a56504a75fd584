#include "cli/history.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "core/error.h"
#include "reports/figures.h"
#include "reports/store/times.h"

namespace mlbench::cli {

using nlohmann::ordered_json;
using reports::StoredKind;

void RunFilterOptions::add_to(CLI::App& command, const std::string& before) {
  const auto text = [&](const char* name, std::string& value, const std::string& what, const char* type) {
    command.add_option(name, value, what)->type_name(type);
  };
  command.add_option("--kind", kind_, "verify or bench")->check(CLI::IsMember({"verify", "bench"}));
  text("--since", filter_.since, "Runs that began on this day or at this moment (UTC unless it has a zone), or later",
       "DATE");
  text("--before", filter_.before, before, "DATE");
  text("--revision", filter_.revision, "Runs of a revision that begins so", "TEXT");
  text("--branch", filter_.branch, "Runs of this branch", "TEXT");
  text("--label", filter_.label, "Runs with this label", "TEXT");
  text("--host", filter_.host, "Runs on this machine", "TEXT");
  command.add_option("--verdict", filter_.verdict, "Runs whose worst part came to this")
      ->check(CLI::IsMember({"passed", "failed", "untrusted", "error", "unsupported", "unchecked"}));
  text("--backend", filter_.backend, "Runs with a part or row of this backend; together with the next ones: one of all",
       "NAME");
  text("--arch", filter_.architecture, "... of this architecture", "NAME");
  text("--model", filter_.model, "... of this model, as history list names it", "NAME");
  text("--dtype", filter_.dtype, "... of this type", "TYPE");
  text("--device", filter_.device, "... on this device", "NAME");
  command.add_option("--last", last_, "Of these, the newest N")->type_name("N")->check(CLI::Range(1, 1'000'000'000));
}

std::string moment_of(const std::string& option, const std::string& text) {
  if (const auto moment = reports::utc_from(text)) return *moment;
  throw request_error("usage",
                      fmt::format("{} {}: must be a day of the calendar (2026-11-21) or a moment with its zone "
                                  "(2026-11-21T10:00:00Z)",
                                  option, in_quotes(text)));
}

reports::RunFilter RunFilterOptions::filter() const {
  reports::RunFilter out = filter_;
  if (!out.since.empty()) out.since = moment_of("--since", out.since);
  if (!out.before.empty()) out.before = moment_of("--before", out.before);
  if (!kind_.empty()) out.kind = kind_ == "bench" ? StoredKind::benchmark : StoredKind::verification;
  if (last_ > 0) out.newest = last_;
  return out;
}

bool RunFilterOptions::given() const {
  const auto all = {&filter_.since, &filter_.before, &filter_.revision, &filter_.branch,       &filter_.label,
                    &filter_.host,  &kind_,          &filter_.verdict,  &filter_.architecture, &filter_.model,
                    &filter_.dtype, &filter_.device, &filter_.backend};
  return last_ > 0 || std::ranges::any_of(all, [](const std::string* text) { return !text->empty(); });
}

std::string runs_text(std::size_t count) { return reports::counted(static_cast<long long>(count), "run"); }

std::string short_revision(const std::string& revision) {
  constexpr std::size_t kHash = 40, kShort = 12;
  const bool hash = revision.size() >= kHash && revision.find_first_not_of("0123456789abcdef") == std::string::npos;
  return one_line(hash ? revision.substr(0, kShort) : revision);
}

std::string figure_text(const std::optional<double>& value) { return value ? reports::number(*value) : "-"; }

ordered_json figure_json(const std::optional<double>& value) {
  if (!value) return nullptr;
  return std::isfinite(*value) ? ordered_json(*value) : ordered_json("inf");
}

namespace {

std::string subject(const std::string& model, const std::string& backend, const std::string& device,
                    const std::string& dtype, Index tensor, Index pipeline, Index replicas, bool disaggregated) {
  std::string out =
      fmt::format("{} {}{} {}", model, backend, device.empty() || device == backend ? "" : ":" + device, dtype);
  if (tensor > 1) out += fmt::format(" tp {}", tensor);
  if (pipeline > 1) out += fmt::format(" pp {}", pipeline);
  if (replicas > 1) out += fmt::format(" replicas {}", replicas);
  return one_line(out + (disaggregated ? " disagg" : ""));
}

}  // namespace

std::string subject_of(const reports::StoredVerification& v) {
  return subject(v.model, v.backend, v.device, v.dtype, v.tensor_parallel, v.pipeline_parallel, v.replicas,
                 v.disaggregated);
}

std::string subject_of(const BenchPoint& p) {
  return subject(p.model, p.backend, p.device, p.dtype, p.tensor_parallel, p.pipeline_parallel, p.replicas,
                 p.disaggregated);
}

void require_runs(const reports::Store& store, const std::vector<reports::RunId>& ids) {
  for (const reports::RunId id : ids) {
    if (store.runs({.ids = {id}}).empty()) (void)store.document(id);
  }
}

ordered_json head_json(const reports::RunHead& head) {
  return {{"id", head.id},           {"kind", name(head.kind)},     {"started", head.started},
          {"verdict", head.verdict}, {"revision", head.revision},   {"branch", head.branch},
          {"label", head.label},     {"host", head.host},           {"processor", head.processor},
          {"program", head.program}, {"command_line", head.command}};
}

void add_history_command(CLI::App& app, Action& action) {
  CLI::App* history = app.add_subcommand("history", "Runs that were kept: list, show, drift, import, export, prune");
  history->require_subcommand(1);
  add_history_list(*history, action);
  add_history_show(*history, action);
  add_history_drift(*history, action);
  add_history_import(*history, action);
  add_history_export(*history, action);
  add_history_prune(*history, action);
  history->footer(
      "mlbench verify and mlbench bench keep their runs unless told --no-store.\n"
      "Example: mlbench history list --last 20\n"
      "         mlbench history drift --backend cpu --arch olmo --dtype bf16");
}

}  // namespace mlbench::cli
