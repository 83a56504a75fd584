// The history as the page's scripts read it: one JSON document without the runs' own documents. Columns of numbers and
// of places in a table of texts; figures are rounded to what is drawn. docs/dashboard.md says how large it gets.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "reports/dashboard/history.h"

namespace mlbench::reports::dashboard {

// Of the page as a whole.
struct Made {
  std::string when;     // UTC, as RunHead::started
  std::string program;  // "mlbench 0.1.0"
  std::string store;    // the file
  std::string filter;   // options that chose the runs, as on a command line; empty: all
  std::string title;    // in front of the page; empty: "mlbench"
};

//   made      as above, and `heat`, `window`, `smallest`: kHeatMapsPerSeries, kChangeWindow, kSmallestChange
//   strings   every text; columns hold places in it, 0 is the empty text
//   bands     of ratios, for heat maps: most, label, colour, ink
//   runs      columns; `started` in seconds since 1970, null where it is no time
//   environments  of each run null, [names, values...], or, where that is shorter, what differs from an earlier run's,
//                 [run, place, value, ...] with the place among its values; told apart by `names` >= 0, run as -1 - run
//   names     lists of facts' names
//   models    columns: what was verified, a line for each model, backend, device, type and split
//   parts     columns: verifications, each of a run and a line of models; ratios: null not checked, -1 not finite;
//   `heat`:
//             place in heat, or -1
//   heat      kinds, layers, and for each mode kinds x layers ratios and those places that failed
//   series    columns: what was measured, a line for each point, method and processor; `changes`: for each, and for
//   each
//             branch (-1: all together, where there are several) [branch, place in rows, ratio, low, high]
//   rows      columns: benchmarks' rows, each of a run and a line of series; `work`: place in `works`
//   works     FLOPs per token, bytes per token
//   probes    columns
[[nodiscard]] nlohmann::ordered_json data_of(const History& history, const Made& made);

}  // namespace mlbench::reports::dashboard
