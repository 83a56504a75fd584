#include "harness/measure/sweep.h"

#include <algorithm>
#include <functional>
#include <map>

#include <fmt/format.h>

#include "backends/parallel/part_holders.h"
#include "core/error.h"
#include "core/json.h"
#include "harness/measure/local_contender.h"
#include "harness/measure/testbed.h"

namespace mlbench::measure {

using backends::Method;
using nlohmann::json;

namespace {

// More points than anybody waits for.
constexpr std::size_t kMostPoints = 100000;
constexpr Index kMostTokens = Index{1} << 24U;

Error wrong(const std::string& where, const std::string& what) {
  return request_error("sweep.format", fmt::format("{}: {}", where, what));
}

class Reader {
 public:
  explicit Reader(std::string where) : where_(std::move(where)) {}

  template <class T>
  void integers(const json& from, const char* field, Index least, Index most, std::vector<T>& into) const {
    if (!from.contains(field)) return;
    for (const json& value : list(from, field)) {
      if (!value.is_number_integer() || value < least || value > most)
        throw wrong(where_,
                    fmt::format("{} {}: must be whole numbers from {} to {}", field, shown(value), least, most));
      into.push_back(static_cast<T>(value.get<Index>()));
    }
  }

  template <class T>
  void words(const json& from, const char* field, const std::function<std::optional<T>(const std::string&)>& parse,
             std::vector<T>& into) const {
    if (!from.contains(field)) return;
    for (const json& value : list(from, field)) {
      const std::optional<T> parsed = value.is_string() ? parse(value.get<std::string>()) : std::nullopt;
      if (!parsed) throw wrong(where_, fmt::format("{}: {} is not known", field, shown(value)));
      into.push_back(*parsed);
    }
  }

  [[nodiscard]] std::vector<SweptModel> models(const json& from) const {
    std::vector<SweptModel> out;
    if (!from.contains("models")) return out;
    for (const json& value : list(from, "models")) {
      SweptModel model;
      const std::map<std::string, std::string*> fields = {
          {"arch", &model.arch}, {"preset", &model.preset}, {"model", &model.folder}};
      if (!value.is_object() || value.size() != 1 || !fields.contains(value.begin().key()) ||
          !value.begin().value().is_string())
        throw wrong(where_, fmt::format("models: {}: must be {{\"arch\": A}}, {{\"preset\": P}} or {{\"model\": DIR}}",
                                        shown(value)));
      *fields.at(value.begin().key()) = value.begin().value().get<std::string>();
      out.push_back(model);
    }
    return out;
  }

  void require_known(const json& from) const {
    static const std::vector<std::string> kFields = {"models", "dtype",     "threads", "batch", "prompt", "gen",
                                                     "depth",  "page_size", "tp",      "pp",    "method"};
    for (const auto& field : from.items()) {
      if (std::ranges::find(kFields, field.key()) == kFields.end())
        throw wrong(where_,
                    fmt::format("{} is no axis: there are {}", in_quotes(field.key()), fmt::join(kFields, ", ")));
    }
  }

 private:
  [[nodiscard]] const json& list(const json& from, const char* field) const {
    const json& found = from.at(field);
    if (!found.is_array() || found.empty())
      throw wrong(where_, fmt::format("{}: must be a list that is not empty", field));
    return found;
  }

  std::string where_;
};

template <class T>
void replace(std::vector<T>& by, const std::vector<T>& other) {
  if (!other.empty()) by = other;
}

template <class T>
std::vector<T> or_default(const std::vector<T>& values, T standard) {
  return values.empty() ? std::vector<T>{standard} : values;
}

// The points, one for each value of an axis.
template <class T, class Member>
void spread(std::vector<BenchPoint>& points, const std::vector<T>& values, Member member) {
  if (points.size() * values.size() > kMostPoints) {
    throw request_error("usage", fmt::format("the axes make more than {} points", kMostPoints));
  }
  std::vector<BenchPoint> out;
  for (const BenchPoint& point : points) {
    for (const T& value : values) {
      out.push_back(point);
      std::invoke(member, out.back()) = value;
    }
  }
  points = std::move(out);
}

}  // namespace

void Axes::override_by(const Axes& other) {
  replace(dtypes, other.dtypes);
  replace(threads, other.threads);
  replace(batch, other.batch);
  replace(prompt, other.prompt);
  replace(gen, other.gen);
  replace(depth, other.depth);
  replace(page_size, other.page_size);
  replace(tensor_parallel, other.tensor_parallel);
  replace(pipeline_parallel, other.pipeline_parallel);
  replace(disaggregated, other.disaggregated);
  replace(replicas, other.replicas);
  replace(methods, other.methods);
}

Sweep read_sweep(const std::string& text, const std::string& where) {
  const json parsed = parse_json(text, where, "sweep.format", "sweep.format");
  if (!parsed.is_object()) throw wrong(where, "must be an object of axes");
  const Reader reader(where);
  reader.require_known(parsed);
  Sweep out;
  out.models = reader.models(parsed);
  const auto dtype = [](const std::string& word) { return parse_dtype(word); };
  reader.words<DType>(parsed, "dtype", dtype, out.axes.dtypes);
  const auto method = [](const std::string& word) { return backends::parse_method(word); };
  reader.words<Method>(parsed, "method", method, out.axes.methods);
  reader.integers(parsed, "threads", 1, 1024, out.axes.threads);
  reader.integers(parsed, "batch", 1, 65536, out.axes.batch);
  reader.integers(parsed, "prompt", 0, kMostTokens, out.axes.prompt);
  reader.integers(parsed, "gen", 0, kMostTokens, out.axes.gen);
  reader.integers(parsed, "depth", 0, kMostTokens, out.axes.depth);
  reader.integers(parsed, "page_size", 1, 65536, out.axes.page_size);
  reader.integers(parsed, "tp", 1, 65536, out.axes.tensor_parallel);
  reader.integers(parsed, "pp", 1, 65536, out.axes.pipeline_parallel);
  reader.integers(parsed, "replicas", 1, 65536, out.axes.replicas);
  return out;
}

std::vector<BenchPoint> points_of(const Axes& axes, const BenchPoint& fixed, int threads) {
  std::vector<BenchPoint> points = {fixed};
  std::vector<std::string> dtypes;
  for (const DType dtype : or_default(axes.dtypes, DType::f32)) dtypes.emplace_back(name(dtype));
  spread(points, dtypes, &BenchPoint::dtype);
  spread(points, or_default(axes.threads, threads), &BenchPoint::threads);
  spread(points, or_default<Index>(axes.tensor_parallel, 1), &BenchPoint::tensor_parallel);
  spread(points, or_default<Index>(axes.pipeline_parallel, 1), &BenchPoint::pipeline_parallel);
  spread(points, or_default<Index>(axes.disaggregated, 0), &BenchPoint::disaggregated);
  spread(points, or_default<Index>(axes.replicas, 1), &BenchPoint::replicas);
  // Of the machine's threads, each rank has its share.
  for (BenchPoint& point : points) {
    const auto ranks = static_cast<int>(std::min<Index>(parallel::workers_of(run_of(point)), threads));
    if (axes.threads.empty()) point.threads = std::max(1, threads / std::max(1, ranks));
  }
  spread(points, or_default<Index>(axes.page_size, 16), &BenchPoint::page_size);
  spread(points, or_default<Index>(axes.depth, 0), &BenchPoint::depth);
  spread(points, or_default<Index>(axes.batch, 1), &BenchPoint::batch);
  spread(points, or_default<Index>(axes.prompt, 512), &BenchPoint::prompt);
  spread(points, or_default<Index>(axes.gen, 64), &BenchPoint::gen);
  return points;
}

std::vector<Method> methods_of(const Axes& axes, const BenchPoint& point) {
  if (!axes.methods.empty()) {
    std::vector<Method> methods = axes.methods;
    std::stable_partition(methods.begin(), methods.end(), [](Method method) { return !decodes(method); });
    return methods;
  }
  std::vector<Method> methods;
  if (point.prompt > 0) methods.push_back(point.batch > 1 ? Method::batch_prefill : Method::prefill);
  if (point.gen > 0) methods.push_back(point.batch > 1 ? Method::batch_decode : Method::decode);
  return methods;
}

}  // namespace mlbench::measure
