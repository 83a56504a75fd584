// A group of workers on its way through the door, in both directions.
#pragma once

#include <exception>
#include <memory>

#include "backends/group.h"
#include "backends/plugin.h"

namespace mlbench::plugin {

// A group of ours as a library meets it.
class CGroup {
 public:
  explicit CGroup(std::shared_ptr<backends::Group> group);
  CGroup(const CGroup&) = delete;
  CGroup& operator=(const CGroup&) = delete;

  [[nodiscard]] const mlbench_group* get() const { return &c_; }
  // Throws what the group threw, if it did: a library may have made something else of it.
  void rethrow() const {
    if (thrown_) std::rethrow_exception(thrown_);
  }

 private:
  template <class Meet>
  static std::int32_t meet(void* context, std::int64_t count, mlbench_error* error, Meet meet);
  static std::int32_t all_reduce(void* context, float* values, std::int64_t count, mlbench_error* error);
  static std::int32_t send_on(void* context, const void* bytes, std::int64_t count, mlbench_error* error);
  static std::int32_t receive(void* context, void* bytes, std::int64_t count, mlbench_error* error);

  std::shared_ptr<backends::Group> group_;
  mlbench_group c_;
  std::exception_ptr thrown_;
};

// And the other way round. Throws backend.failed for what is none.
[[nodiscard]] std::shared_ptr<backends::Group> group_of(const mlbench_group& group);

}  // namespace mlbench::plugin
