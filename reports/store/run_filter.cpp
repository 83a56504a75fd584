#include "reports/store/run_filter.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace mlbench::reports {
namespace {

// Conditions on the columns of one table.
class Conditions {
 public:
  explicit Conditions(Selection& selection) : selection_(&selection) {}

  void add(const std::string& condition, const std::string& value) {
    conditions_.push_back(condition);
    selection_->values.emplace_back(value);
  }
  void equal(const char* column, const std::string& value) {
    if (!value.empty()) add(fmt::format("{} = ?", column), value);
  }
  void add_bare(const std::string& condition) { conditions_.push_back(condition); }
  [[nodiscard]] bool empty() const { return conditions_.empty(); }
  [[nodiscard]] std::string text() const { return fmt::format("{}", fmt::join(conditions_, " AND ")); }

 private:
  Selection* selection_;
  std::vector<std::string> conditions_;
};

// All of them of one part or row.
std::string part_condition(const RunFilter& filter, const char* table, Selection& selection) {
  Conditions conditions(selection);
  conditions.equal("p.backend", filter.backend);
  conditions.equal("p.architecture", filter.architecture);
  conditions.equal("p.model", filter.model);
  conditions.equal("p.dtype", filter.dtype);
  conditions.equal("p.device", filter.device);
  if (conditions.empty()) return "";
  return fmt::format("EXISTS (SELECT 1 FROM {} p WHERE p.run = run.id AND {})", table, conditions.text());
}

}  // namespace

Selection selection_of(const RunFilter& filter) {
  Selection out;
  Conditions conditions(out);
  if (!filter.ids.empty()) conditions.add_bare(fmt::format("id IN ({})", fmt::join(filter.ids, ", ")));
  if (filter.kind) conditions.equal("kind", std::string(name(*filter.kind)));
  if (!filter.since.empty()) conditions.add("started >= ?", filter.since);
  if (!filter.before.empty()) conditions.add("started < ?", filter.before);
  // Not LIKE, for which letters of both cases are the same and some have a meaning.
  if (!filter.revision.empty()) {
    conditions.add("substr(revision, 1, length(?)) = ?", filter.revision);
    out.values.emplace_back(filter.revision);
  }
  conditions.equal("branch", filter.branch);
  conditions.equal("label", filter.label);
  conditions.equal("host", filter.host);
  conditions.equal("verdict", filter.verdict);
  const std::string verification = part_condition(filter, "verification", out);
  if (!verification.empty())
    conditions.add_bare(fmt::format("({} OR {})", verification, part_condition(filter, "benchmark", out)));
  // Not by an index: an entry that is damaged there would hide a run without a word.
  out.sql = "SELECT id FROM run NOT INDEXED" + (conditions.empty() ? "" : " WHERE " + conditions.text());
  if (filter.newest) {
    out.sql += " ORDER BY started DESC, id DESC LIMIT ?";
    out.values.emplace_back(static_cast<std::int64_t>(*filter.newest));
  }
  return out;
}

}  // namespace mlbench::reports
