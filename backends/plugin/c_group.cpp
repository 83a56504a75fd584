#include "backends/plugin/c_group.h"

#include "backends/plugin/calls.h"

namespace mlbench::plugin {
namespace {

class OfLibrary final : public backends::Group {
 public:
  explicit OfLibrary(const mlbench_group& group) : c_(group) {}

  void all_reduce(std::span<float> values) override {
    call("all-reduce", c_.all_reduce, c_.context, values.data(), count_of(values.size()));
  }
  void send_on(std::span<const std::byte> bytes) override {
    const void* data = bytes.data();
    call("rows to the next stage", c_.send_on, c_.context, data, count_of(bytes.size()));
  }
  void receive(std::span<std::byte> bytes) override {
    void* data = bytes.data();
    call("rows from the stage before", c_.receive, c_.context, data, count_of(bytes.size()));
  }

 private:
  static std::int64_t count_of(std::size_t size) { return static_cast<std::int64_t>(size); }

  const mlbench_group& c_;
};

}  // namespace

CGroup::CGroup(std::shared_ptr<backends::Group> group)
    : group_(std::move(group)), c_{sizeof(mlbench_group), 0, this, all_reduce, send_on, receive} {}

template <class Meet>
std::int32_t CGroup::meet(void* context, std::int64_t count, mlbench_error* error, Meet meet) {
  auto& own = *static_cast<CGroup*>(context);
  return guarded(error, [&] {
    if (count < 0) throw backend_failed(fmt::format("a meeting over {} values", count));
    try {
      meet(*own.group_, static_cast<std::size_t>(count));
    } catch (...) {
      own.thrown_ = std::current_exception();
      throw;
    }
  });
}

std::int32_t CGroup::all_reduce(void* context, float* values, std::int64_t count, mlbench_error* error) {
  return meet(context, count, error, [=](backends::Group& group, std::size_t size) {
    group.all_reduce({values, size});
  });
}

std::int32_t CGroup::send_on(void* context, const void* bytes, std::int64_t count, mlbench_error* error) {
  return meet(context, count, error, [=](backends::Group& group, std::size_t size) {
    group.send_on({static_cast<const std::byte*>(bytes), size});
  });
}

std::int32_t CGroup::receive(void* context, void* bytes, std::int64_t count, mlbench_error* error) {
  return meet(context, count, error, [=](backends::Group& group, std::size_t size) {
    group.receive({static_cast<std::byte*>(bytes), size});
  });
}

std::shared_ptr<backends::Group> group_of(const mlbench_group& group) {
  const bool whole = group.struct_size >= sizeof(mlbench_group) && group.all_reduce != nullptr &&
                     group.send_on != nullptr && group.receive != nullptr;
  if (!whole) throw backend_failed("mlbench_group: it is too small, or lacks a function");
  return std::make_shared<OfLibrary>(group);
}

}  // namespace mlbench::plugin
