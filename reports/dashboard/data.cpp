#include "reports/dashboard/data.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "reports/dashboard/change_points.h"
#include "reports/dashboard/columns.h"
#include "reports/dashboard/heat.h"
#include "reports/figures.h"
#include "reports/heat_map.h"

namespace mlbench::reports::dashboard {
namespace {

using nlohmann::ordered_json;

constexpr int kRateDigits = 5, kShareDigits = 3, kWorkDigits = 6;
constexpr std::uint64_t kMebibyte = 1U << 20U;

using Places = std::map<RunId, std::size_t>;  // of runs, in the order of the history

ordered_json bands() {
  ordered_json out = ordered_json::array();
  for (const RatioBand& band : ratio_bands())
    out.push_back({{"most", finite(band.most)}, {"label", band.label}, {"colour", band.colour}, {"ink", band.ink}});
  return out;
}

ordered_json runs_of(const History& history, Texts& texts) {
  Columns out(
      {"id", "kind", "started", "revision", "branch", "label", "host", "processor", "program", "command", "verdict"});
  for (const RunHead& run : history.runs) {
    out.add({run.id, texts.place(std::string(name(run.kind))), seconds_of(run.started), texts.place(run.revision),
             texts.place(run.branch), texts.place(run.label), texts.place(run.host), texts.place(run.processor),
             texts.place(run.program), texts.place(run.command), texts.place(run.verdict)});
  }
  return out.take();
}

// Facts hardly change from run to run: each is written as what differs from an earlier one with facts of the same
// names.
class Environments {
 public:
  explicit Environments(Texts& texts) : texts_(texts) {}

  [[nodiscard]] ordered_json add(std::size_t run, const std::vector<const StoredFact*>& facts) {
    if (facts.empty()) return nullptr;
    std::vector<std::size_t> names, values;
    for (const StoredFact* fact : facts) {
      names.push_back(texts_.place(fact->name));
      values.push_back(texts_.place(fact->value));
    }
    const auto [schema, fresh] = schemas_.try_emplace(names, schemas_.size());
    if (fresh) names_.push_back(names);
    const auto whole = whole_.find(schema->second);
    if (whole != whole_.end()) {
      ordered_json difference = {-1 - static_cast<std::int64_t>(whole->second.run)};
      for (std::size_t i = 0; i < values.size(); ++i) {
        if (values[i] == whole->second.values[i]) continue;
        difference.push_back(i);
        difference.push_back(values[i]);
      }
      if (difference.size() <= values.size()) return difference;
    }
    ordered_json out = {schema->second};
    for (const std::size_t value : values) out.push_back(value);
    whole_[schema->second] = {run, values};
    return out;
  }
  [[nodiscard]] ordered_json names() const { return names_; }

 private:
  struct Whole {
    std::size_t run = 0;
    std::vector<std::size_t> values;
  };
  Texts& texts_;
  std::map<std::vector<std::size_t>, std::size_t> schemas_;
  std::map<std::size_t, Whole> whole_;  // the last that was written whole
  std::vector<std::vector<std::size_t>> names_;
};

// Whole documents of lines come in any order of runs; the page wants them by time.
template <class Line>
std::vector<std::pair<std::size_t, const Line*>> by_run(const std::vector<Line>& lines, const Places& places) {
  std::vector<std::pair<std::size_t, const Line*>> out;
  for (const Line& line : lines) {
    const auto place = places.find(line.run);
    if (place != places.end()) out.emplace_back(place->second, &line);
  }
  std::ranges::stable_sort(out, {}, [](const auto& pair) { return pair.first; });
  return out;
}

void add_verifications(const History& history, const Places& places, Texts& texts, ordered_json& out) {
  std::map<PartKey, std::vector<const StoredTap*>> taps;
  for (const PartKey& key : newest_parts(history.runs, history.verifications)) taps[key];
  for (const StoredTap& tap : history.taps) {
    const auto drawn = taps.find({tap.run, tap.part});
    if (drawn != taps.end()) drawn->second.push_back(&tap);
  }
  Columns models({"model", "architecture", "backend", "device", "dtype", "tp", "pp", "apart", "replicas"});
  Columns parts({"run", "model", "version", "verdict", "checks", "failed", "isolated", "chained", "exact", "heat"});
  ordered_json heat = ordered_json::array();
  std::map<std::string, std::size_t> known;
  std::map<RunId, Index> parts_so_far;
  for (const auto& [run, p] : by_run(history.verifications, places)) {
    const auto [model, fresh] = known.try_emplace(series_of(*p), known.size());
    if (fresh) {
      models.add({texts.place(p->model), texts.place(p->architecture), texts.place(p->backend), texts.place(p->device),
                  texts.place(p->dtype), p->tensor_parallel, p->pipeline_parallel, p->disaggregated ? 1 : 0,
                  p->replicas});
    }
    std::int64_t map = -1;
    const auto drawn = taps.find({p->run, parts_so_far[p->run]++});
    if (drawn != taps.end() && !drawn->second.empty()) {
      map = static_cast<std::int64_t>(heat.size());
      heat.push_back(heat_map(drawn->second, texts));
    }
    parts.add({run, model->second, texts.place(p->backend_version), texts.place(p->verdict), p->checks, p->failed,
               ratio_figure(p->isolated), ratio_figure(p->chained), ratio_figure(p->exact), map});
  }
  out["models"] = models.take();
  out["parts"] = parts.take();
  out["heat"] = std::move(heat);
}

// ---- benchmarks

// Rows whose figures count: what is wrong, or faster than the device can be, is no throughput.
bool counts(const StoredRow& row) {
  const bool right = row.check == "passed" || row.check == "sampled" || row.check == "unchecked";
  return right && row.tokens_per_second && row.tokens_per_second->value > 0.0 &&
         std::isfinite(row.tokens_per_second->value);
}

struct Measured {
  std::size_t row = 0;
  Estimate rate;
};
using OfBranches = std::map<std::int64_t, std::vector<Measured>>;  // by the text of the branch; -1: all

// One after the other, as the runs were.
ordered_json changes_of(const OfBranches& branches) {
  ordered_json out = ordered_json::array();
  for (const auto& [branch, measured] : branches) {
    if (branch == -1 && branches.size() == 2) continue;  // all is that one branch
    std::vector<Estimate> rates;
    for (const Measured& m : measured) rates.push_back(m.rate);
    for (const ChangePoint& change : change_points(rates)) {
      out.push_back({branch, measured[change.first].row, rounded(change.ratio.value, kRateDigits),
                     rounded(change.ratio.low, kRateDigits), rounded(change.ratio.high, kRateDigits)});
    }
  }
  return out;
}

// Points measured on processors of different names are different series; hosts of the same are one, for runners of CI
// systems have a new name each time.
std::string series_of(const StoredRow& row, const std::string& processor) {
  const BenchPoint& p = row.point;
  return describe(p, row.method) + '\n' + p.architecture + '\n' + p.device + '\n' + std::to_string(p.depth) + ' ' +
         std::to_string(p.page_size) + ' ' + std::to_string(p.tensor_parallel) + ' ' +
         std::to_string(p.pipeline_parallel) + (p.disaggregated ? " apart\n" : "\n") + processor;
}

void add_series(const StoredRow& row, const std::string& processor, Texts& texts, Columns& series) {
  const BenchPoint& p = row.point;
  series.add({texts.place(p.model), texts.place(p.architecture), texts.place(p.backend), texts.place(p.device),
              texts.place(p.dtype), p.threads, p.batch, p.prompt, p.gen, p.depth, p.page_size, p.tensor_parallel,
              p.pipeline_parallel, p.disaggregated ? 1 : 0, p.replicas, texts.place(row.method), row.decode ? 1 : 0,
              texts.place(processor)});
}

void add_rows(const History& history, const Places& places, Texts& texts, ordered_json& out) {
  Columns series({"model", "architecture", "backend", "device", "dtype", "threads", "batch", "prompt", "gen", "depth",
                  "page", "tp", "pp", "apart", "replicas", "method", "decode", "processor"});
  Columns rows({"run", "series", "rate", "low", "high", "samples", "check", "mfu", "mbu", "joules", "memory", "work"});
  std::map<std::string, std::size_t> known;
  std::map<std::pair<double, double>, std::size_t> known_works;
  ordered_json works = ordered_json::array();
  std::vector<OfBranches> measured;
  for (const auto& [run, row] : by_run(history.rows, places)) {
    const RunHead& head = history.runs[run];
    const auto [line, fresh] = known.try_emplace(series_of(*row, head.processor), known.size());
    if (fresh) {
      add_series(*row, head.processor, texts, series);
      measured.emplace_back();
    }
    const auto [work, unknown] = known_works.try_emplace({row->flops_per_token, row->bytes_per_token}, works.size());
    if (unknown)
      works.push_back({rounded(row->flops_per_token, kWorkDigits), rounded(row->bytes_per_token, kWorkDigits)});
    if (counts(*row)) {
      const Measured one{rows.rows(), *row->tokens_per_second};
      measured[line->second][static_cast<std::int64_t>(texts.place(head.branch))].push_back(one);
      measured[line->second][-1].push_back(one);
    }
    const std::optional<Estimate>& rate = row->tokens_per_second;
    rows.add({run, line->second, rate ? rounded(rate->value, kRateDigits) : nullptr,
              rate ? rounded(rate->low, kRateDigits) : nullptr, rate ? rounded(rate->high, kRateDigits) : nullptr,
              row->samples, texts.place(row->check), rounded(row->mfu, kShareDigits), rounded(row->mbu, kShareDigits),
              rounded(row->joules_per_token, kShareDigits), row->peak_memory_bytes / kMebibyte, work->second});
  }
  out["series"] = series.take();
  out["series"]["changes"] = ordered_json::array();
  for (const OfBranches& branches : measured) out["series"]["changes"].push_back(changes_of(branches));
  out["rows"] = rows.take();
  out["works"] = std::move(works);
}

ordered_json probes_of(const History& history, const Places& places, Texts& texts) {
  Columns out({"run", "backend", "device", "dtype", "threads", "read", "flops"});
  for (const auto& [run, stored] : by_run(history.probes, places)) {
    const ProbeResult& p = stored->probe;
    out.add({run, texts.place(p.backend), texts.place(p.device), texts.place(p.dtype), p.threads,
             rounded(p.read_bytes_per_second, kShareDigits + 1), rounded(p.flops_per_second, kShareDigits + 1)});
  }
  return out.take();
}

}  // namespace

ordered_json data_of(const History& history, const Made& made) {
  Places places;
  for (std::size_t i = 0; i < history.runs.size(); ++i) places.emplace(history.runs[i].id, i);
  Texts texts;
  ordered_json out = {{"made",
                       {{"when", seconds_of(made.when)},
                        {"program", clean_text(made.program)},
                        {"store", clean_text(made.store)},
                        {"filter", clean_text(made.filter)},
                        {"title", clean_text(made.title)},
                        {"heat", kHeatMapsPerSeries},
                        {"window", kChangeWindow},
                        {"smallest", kSmallestChange}}},
                      {"bands", bands()},
                      {"runs", runs_of(history, texts)}};
  Environments environments(texts);
  ordered_json facts = ordered_json::array();
  const auto sorted = by_run(history.facts, places);
  auto next = sorted.begin();
  for (std::size_t run = 0; run < history.runs.size(); ++run) {
    std::vector<const StoredFact*> own;
    for (; next != sorted.end() && next->first == run; ++next) own.push_back(next->second);
    facts.push_back(environments.add(run, own));
  }
  out["environments"] = std::move(facts);
  out["names"] = environments.names();
  add_verifications(history, places, texts, out);
  add_rows(history, places, texts, out);
  out["probes"] = probes_of(history, places, texts);
  out["strings"] = texts.take();
  return out;
}

}  // namespace mlbench::reports::dashboard
