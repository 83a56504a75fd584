// Fields of a JSON document that nobody vouches for; what is wrong is a request error bench.format of one line, which
// names the place: "base.json: rows[3].samples[2] = -1: must be ...".
#pragma once

#include <cstdint>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/tensor.h"

namespace mlbench::reports {

// No benchmark has more rows, and no time is longer (31 years); a count's limit keeps products of two in range.
inline constexpr std::size_t kMostRows = 100'000;
inline constexpr double kMostSeconds = 1e9;
inline constexpr Index kMostCount = std::numeric_limits<std::int32_t>::max();

[[nodiscard]] Error format_error(const std::string& where, const std::string& what);

class Fields {
 public:
  // `where` is the file; `path` leads to the object in it, "" for the whole.
  Fields(const nlohmann::json& object, std::string where, std::string path);

  [[nodiscard]] bool has(const std::string& name) const;  // and it is not null
  [[nodiscard]] bool is_text(const std::string& name) const;
  // These throw when the field is missing or is not what the name says.
  const nlohmann::json& at(const std::string& name);
  std::string text(const std::string& name);
  bool flag(const std::string& name);
  Index count(const std::string& name, Index most = kMostCount);
  std::uint64_t whole(const std::string& name);
  double number(const std::string& name);
  double figure(const std::string& name);   // a number, or "inf", "-inf", "nan"
  double seconds(const std::string& name);  // not negative
  Fields object(const std::string& name);
  std::vector<Fields> objects(const std::string& name, std::size_t most = kMostRows);
  std::vector<std::string> texts(const std::string& name);
  // Above zero, in seconds, where one of the document is `unit` of them.
  double time(const std::string& name, double unit);
  std::vector<double> times(const std::string& name, double unit = 1.0);
  std::vector<double> moments(const std::string& name);                      // seconds from 0 on
  std::vector<std::vector<double>> lists_of_times(const std::string& name);  // a clock that is coarse gives zeros

  // May be there, whatever it is.
  void pass_over(const std::string& name) { asked_.insert(name); }
  // Refuses what was not asked for.
  void expect_no_more() const;

  [[nodiscard]] Error fault(const std::string& name, const std::string& must) const;
  [[nodiscard]] std::string place(const std::string& name) const;  // "file: rows[3].check"

 private:
  const nlohmann::json& list(const std::string& name);
  [[nodiscard]] Error wrong_time(const std::string& name, const nlohmann::json& value, bool zero) const;
  [[nodiscard]] std::vector<double> times_in(const nlohmann::json& list, const std::string& name, double unit,
                                             bool zero) const;

  const nlohmann::json* object_;
  std::string where_, path_;
  std::set<std::string> asked_;
};

}  // namespace mlbench::reports
