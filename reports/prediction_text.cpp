// Predictions of split models, as text for a terminal.
#include <algorithm>

#include <fmt/format.h>

#include "core/error.h"
#include "reports/bench_row.h"
#include "reports/figures.h"
#include "reports/prediction_report.h"

namespace mlbench::reports {
namespace {

constexpr auto kLeft = Align::left;
constexpr auto kRight = Align::right;

std::string coloured(std::string_view word, int code, bool color) {
  return color ? fmt::format("\x1b[{}m{}\x1b[0m", code, word) : std::string(word);
}

std::string devices_text(const Cluster& c) {
  return fmt::format("{}, {} in each: {}, {} each", counted(c.nodes, "node"), counted(c.devices_per_node, "device"),
                     one_line(c.device.name), mebibytes(c.device.memory_bytes));
}

std::string link_text(const char* where, const std::optional<Link>& link) {
  if (!link) return "";
  return fmt::format("{}: {} each way for a {}, {} us\n", where, scaled(link->bytes_per_second, "B/s"),
                     link->shared_by_node ? "node" : "device", figure(1e6 * link->latency_seconds));
}

std::string rates_text(const Prediction& prediction) {
  std::string out;
  for (const ProbeResult& rates : prediction.cluster.device.rates) {
    const bool used =
        std::ranges::any_of(prediction.rows, [&](const PredictedRow& row) { return row.point.dtype == rates.dtype; });
    if (used)
      out += fmt::format("a device in {}: reads {}, computes {}\n", one_line(rates.dtype),
                         scaled(rates.read_bytes_per_second, "B/s"), scaled(rates.flops_per_second, "FLOP/s"));
  }
  return out;
}

// Of the prompt's call, or of one step.
double call_seconds(const PredictedRow& row) {
  return row.decode ? row.seconds / static_cast<double>(row.point.gen) : row.seconds;
}

std::string fits_text(const PredictedMemory& memory, bool color) {
  constexpr int kRed = 31, kGreen = 32;
  return memory.fits() ? coloured("fits", kGreen, color) : coloured("DOES NOT FIT", kRed, color);
}

std::string rows_table(const Prediction& prediction, const Axes& axes, bool color) {
  std::vector<Table::Column> columns = axes.columns();
  columns.push_back({"method", kLeft});
  for (const char* title : {"micro-batches", "tokens/s", "call ms", "compute", "messages", "bubble", "memory"})
    columns.push_back({title, kRight});
  columns.push_back({"of rank", kRight});
  columns.push_back({"", kLeft});
  Table table(columns);
  for (const PredictedRow& row : prediction.rows) {
    std::vector<std::string> cells;
    for (const std::string& cell : axes.cells(row.point)) cells.push_back(one_line(cell));
    cells.push_back(row.method);
    cells.push_back(fmt::to_string(row.micro_batches));
    cells.push_back(figure(row.tokens_per_second));
    cells.push_back(milliseconds(call_seconds(row)));
    for (const double part : {row.compute_seconds, row.communication_seconds, row.bubble_seconds})
      cells.push_back(percent(part / row.seconds));
    cells.push_back(mebibytes(row.memory.total()));
    cells.push_back(fmt::to_string(row.memory.worker));
    cells.push_back(fits_text(row.memory, color));
    table.add(std::move(cells));
  }
  return table.text();
}

}  // namespace

std::string to_text(const Prediction& prediction, bool color) {
  constexpr int kYellow = 33;
  std::vector<const BenchPoint*> points;
  for (const PredictedRow& row : prediction.rows) points.push_back(&row.point);
  const Axes axes(points);
  const Cluster& cluster = prediction.cluster;
  std::string out = fmt::format("{}: {}\n", one_line(prediction.cluster_file), devices_text(cluster));
  if (!cluster.note.empty()) out += fmt::format("note: {}\n", one_line(cluster.note));
  out += link_text("within a node", cluster.within_node) + link_text("between nodes", cluster.between_nodes);
  out += rates_text(prediction) + fmt::format("{}\n\n", one_line(axes.common()));
  out += rows_table(prediction, axes, color) + "\n";
  for (const auto& [code, reason] : prediction.not_offered)
    out += fmt::format("{}: {}: {}\n", coloured("not offered", kYellow, color), code, one_line(reason));
  const auto too_large = std::ranges::count_if(prediction.rows, [](const auto& row) { return !row.memory.fits(); });
  out += counted(static_cast<long long>(prediction.rows.size()), "row");
  out += too_large > 0 ? fmt::format(", {} of what does not fit", too_large) : "";
  return out + "; predicted, not measured: docs/scaling.md says what is left out\n";
}

}  // namespace mlbench::reports
