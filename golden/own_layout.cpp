#include "golden/own_layout.h"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/error.h"
#include "core/hash.h"
#include "golden/digest.h"

namespace mlbench::golden {
namespace {

constexpr std::string_view kSteps = "/steps/";
constexpr std::string_view kDigest = "digest";

// All of `text` as a number, without sign.
template <class T>
std::optional<T> number(std::string_view text) {
  T value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || text.front() == '-') return std::nullopt;
  return value;
}

// "/steps/007/taps/embed" -> 7 and "taps/embed".
struct StepPath {
  Index step;
  std::string_view rest;  // empty: the step's own group
};

std::optional<StepPath> parse_step_path(std::string_view path) {
  if (!path.starts_with(kSteps)) return std::nullopt;
  path.remove_prefix(kSteps.size());
  const std::string_view digits = path.substr(0, path.find('/'));
  const auto step = number<Index>(digits);
  if (!step || step_path(*step).substr(kSteps.size()) != digits) return std::nullopt;  // one spelling for each number
  path.remove_prefix(std::min(path.size(), digits.size() + 1));
  return StepPath{*step, path};
}

class Layout {
 public:
  explicit Layout(const GoldenFile& file) : file_(file) {}

  // The root's attributes. The version comes first: a newer one may have any others.
  [[nodiscard]] Manifest manifest() const {
    if (!is_own_layout(file_))
      throw bad(fmt::format("is no golden of mlbench: attribute format must be \"{}\"", kOwnFormat));
    check_version();
    Manifest m;
    m.program_version = text("program_version");
    m.model = text("model");
    m.architecture = text("architecture");
    m.config = text("config");
    m.weights = text("weights");
    m.weights_digest = text("weights_digest");
    const auto seed = number<std::uint64_t>(text("seed"));
    if (!seed) throw bad("attribute seed must be a whole number >= 0");
    m.seed = *seed;
    m.dtype = text("dtype");
    m.arithmetic = text("arithmetic");
    m.plan = text("plan");
    return m;
  }

  [[nodiscard]] std::vector<StepInfo> steps() const {
    std::map<Index, StepInfo> steps;
    for (const GroupInfo& group : file_.info().groups) add_group(group, steps);
    for (const DatasetInfo& dataset : file_.info().datasets) add_dataset(dataset, steps);
    std::vector<StepInfo> in_order;
    for (auto& [index, step] : steps) {
      if (index != static_cast<Index>(in_order.size()))
        throw bad(fmt::format("{} is missing: steps are numbered from 0", step_path(std::ssize(in_order))));
      check_step(step);
      in_order.push_back(std::move(step));
    }
    if (in_order.empty()) throw bad("holds no steps");
    return in_order;
  }

  void check_digest() const {
    const std::string expected = text(kDigest);
    const std::string computed = digest_of_attributes(file_.info());
    if (computed == expected) return;
    throw request_error("golden.digest",
                        fmt::format("{}: its attributes have digest {}, not {} as written: the file was changed",
                                    file_.path(), computed, in_quotes(expected)));
  }

 private:
  [[nodiscard]] Error bad(const std::string& what) const {
    return request_error("golden.format", fmt::format("{}: {}", file_.path(), what));
  }

  [[nodiscard]] std::string text(std::string_view name) const {
    if (auto value = file_.attribute(std::string(name))) return *value;
    throw bad(fmt::format("attribute {} of the root is missing", name));
  }

  void check_version() const {
    const std::string version = text("format_version");
    const auto value = number<std::int64_t>(version);
    if (!value || *value < 1) throw bad(fmt::format("format_version {}: must be a number > 0", in_quotes(version)));
    if (*value <= kOwnFormatVersion) return;
    throw request_error("golden.version",
                        fmt::format("{}: format_version {}: a newer mlbench wrote it; this one reads up to {}",
                                    file_.path(), *value, kOwnFormatVersion));
  }

  void add_group(const GroupInfo& group, std::map<Index, StepInfo>& steps) const {
    if (group.path == "/steps") return;
    const auto at = parse_step_path(group.path);
    if (!at || !(at->rest.empty() || at->rest == "taps" || at->rest == "limits")) throw foreign("group", group.path);
    StepInfo& step = steps[at->step];
    step.index = at->step;
    if (!at->rest.empty()) return;
    step.method = text_of(group, "method");
    step.label = text_of(group, "label");
  }

  [[nodiscard]] std::string text_of(const GroupInfo& group, const std::string& name) const {
    const auto it = group.attributes.find(name);
    if (it == group.attributes.end())
      throw bad(fmt::format("attribute {} of {} is missing", name, in_quotes(group.path)));
    return it->second;
  }

  // Datasets come after all groups: their step is there.
  void add_dataset(const DatasetInfo& dataset, std::map<Index, StepInfo>& steps) const {
    const auto at = parse_step_path(dataset.path);
    const auto step = at ? steps.find(at->step) : steps.end();
    if (step == steps.end()) throw foreign("dataset", dataset.path);
    const auto under = [&, rest = at->rest](std::string_view group) -> std::optional<std::string> {
      if (!rest.starts_with(group) || !parse_tap(rest.substr(group.size()))) return std::nullopt;
      return std::string(rest.substr(group.size()));
    };
    if (at->rest == "positions") {
      step->second.positions = &dataset;
    } else if (at->rest == "sequence") {
      step->second.sequence = &dataset;
    } else if (const auto tap = under("taps/")) {
      step->second.taps[*tap] = &dataset;
    } else if (const auto limited = under("limits/")) {
      step->second.limits[*limited] = &dataset;
    } else {
      throw foreign("dataset", dataset.path);
    }
  }

  [[nodiscard]] Error foreign(const char* what, const std::string& path) const {
    return bad(fmt::format("{} {} is not part of the layout", what, in_quotes(path)));
  }

  void check_step(const StepInfo& step) const {
    const std::string group = step_path(step.index);
    const auto need = [&](const DatasetInfo& dataset, ValueKind kind, std::size_t least, std::size_t most) {
      const std::size_t rank = dataset.shape.size();
      if (dataset.kind != kind || rank < least || rank > most) {
        throw bad(fmt::format("dataset {} of shape {} must be a {} of {}", in_quotes(dataset.path),
                              to_string(dataset.shape), most == 1 ? "list" : "tensor",
                              kind == ValueKind::integer ? "integers" : "floating-point numbers"));
      }
      if (!dataset.attributes.contains(std::string(kDigest)))
        throw bad(fmt::format("attribute {} of {} is missing", kDigest, in_quotes(dataset.path)));
    };
    if (step.method.empty() || step.positions == nullptr || step.sequence == nullptr)
      throw bad(fmt::format("{} must have attribute method and datasets positions and sequence", group));
    need(*step.positions, ValueKind::integer, 1, 1);
    need(*step.sequence, ValueKind::integer, 1, 1);
    if (step.positions->shape != step.sequence->shape)
      throw bad(fmt::format("{}: positions and sequence must be equally long", group));
    for (const auto& [tap, dataset] : step.taps) need(*dataset, ValueKind::real, 1, 32);
    for (const auto& [tap, dataset] : step.limits) {
      need(*dataset, ValueKind::real, 1, 1);
      if (!step.taps.contains(tap)) throw bad(fmt::format("{} is of no tap of the step", in_quotes(dataset->path)));
    }
  }

  const GoldenFile& file_;
};

void check_digest(const GoldenFile& file, const DatasetInfo& dataset, const std::string& computed) {
  const auto it = dataset.attributes.find(std::string(kDigest));
  if (it != dataset.attributes.end() && it->second == computed) return;
  throw request_error(
      "golden.digest",
      fmt::format("{}: dataset {}: the values have digest {}, not {} as written: the file was changed", file.path(),
                  in_quotes(dataset.path), computed, in_quotes(it == dataset.attributes.end() ? "" : it->second)));
}

}  // namespace

std::string step_path(Index step) { return fmt::format("{}{:03}", kSteps, step); }

std::optional<TapId> parse_tap(std::string_view text) {
  constexpr std::string_view kLayers = "layers.";
  TapId id;
  if (text.starts_with(kLayers)) {
    text.remove_prefix(kLayers.size());
    const std::string_view digits = text.substr(0, text.find('.'));
    const auto layer = number<std::int32_t>(digits);
    if (!layer || digits.size() == text.size() || fmt::format("{}", *layer) != digits) return std::nullopt;
    id.layer = *layer;
    text.remove_prefix(digits.size() + 1);
  }
  for (int tap = 0; tap <= static_cast<int>(Tap::logits); ++tap) {
    id.tap = static_cast<Tap>(tap);
    if (name(id.tap) == text && per_layer(id.tap) == (id.layer >= 0)) return id;
  }
  return std::nullopt;
}

std::string digest_of_attributes(const FileInfo& info) {
  std::vector<std::string> lines;
  const auto add = [&](const std::string& path, const Attributes& attributes) {
    for (const auto& [name, value] : attributes) {
      if (path != "/" || name != kDigest) lines.push_back(fmt::format("{}@{}={}\n", path, name, value));
    }
  };
  add("/", info.attributes);
  for (const GroupInfo& group : info.groups) add(group.path, group.attributes);
  for (const DatasetInfo& dataset : info.datasets) add(dataset.path, dataset.attributes);
  std::ranges::sort(lines);
  return fmt::format("{:016x}", fnv1a(fmt::format("{}", fmt::join(lines, ""))));
}

bool is_own_layout(const GoldenFile& file) { return file.attribute("format") == kOwnFormat; }

OwnGolden::OwnGolden(GoldenFile& file) : file_(file) {
  const Layout layout(file);
  manifest_ = layout.manifest();
  steps_ = layout.steps();
  layout.check_digest();
}

Tensor<double> OwnGolden::read(const DatasetInfo* dataset, const StepInfo& step, const char* what,
                               const std::string& tap) {
  if (dataset == nullptr) {
    throw request_error("golden.format",
                        fmt::format("{}: {} has no {} {}", file_.path(), step_path(step.index), what, in_quotes(tap)));
  }
  Tensor<double> values = file_.read(*dataset);
  check_digest(file_, *dataset, digest_of(values));
  return values;
}

Tensor<double> OwnGolden::tap(const StepInfo& step, const std::string& tap) {
  const auto it = step.taps.find(tap);
  return read(it == step.taps.end() ? nullptr : it->second, step, "tap", tap);
}

Tensor<double> OwnGolden::limits(const StepInfo& step, const std::string& tap) {
  const auto it = step.limits.find(tap);
  return read(it == step.limits.end() ? nullptr : it->second, step, "limits of tap", tap);
}

Tensor<std::int64_t> OwnGolden::positions(const StepInfo& step) {
  Tensor<std::int64_t> values = file_.read_integers(*step.positions);
  check_digest(file_, *step.positions, digest_of(values));
  return values;
}

Tensor<std::int64_t> OwnGolden::sequence(const StepInfo& step) {
  Tensor<std::int64_t> values = file_.read_integers(*step.sequence);
  check_digest(file_, *step.sequence, digest_of(values));
  return values;
}

}  // namespace mlbench::golden
