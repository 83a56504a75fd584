#include "harness/selftest/parallel_group.h"

#include <algorithm>
#include <cstring>
#include <vector>

namespace mlbench::selftest {
namespace {

using M = ParallelMistake;

void round_to(DType type, std::span<float> values) {
  std::vector<double> wide(values.begin(), values.end());
  std::vector<std::byte> narrowed(values.size() * size_bytes(type));
  narrow(type, wide, narrowed.data());
  widen(type, narrowed.data(), wide);
  std::ranges::transform(wide, values.begin(), [](double value) { return static_cast<float>(value); });
}

class LyingGroup final : public backends::Group {
 public:
  LyingGroup(std::shared_ptr<backends::Group> group, ParallelPlanted planted, const Split& split, Index worker,
             Index sums_per_layer)
      : group_(std::move(group)),
        planted_(std::move(planted)),
        shards_(split.tensor_parallel),
        last_shard_(worker % split.tensor_parallel == split.tensor_parallel - 1),
        sums_per_layer_(sums_per_layer) {}

  void all_reduce(std::span<float> values) override {
    const bool of_attention = sums_++ % sums_per_layer_ == 0;
    if (planted_.at(M::sum_dropped)) return;
    if (last_shard_ && planted_.at(M::sum_dropped_by_one)) {
      std::vector<float> others(values.begin(), values.end());
      return group_->all_reduce(others);
    }
    if (last_shard_ && leaves_out(of_attention)) std::ranges::fill(values, 0.0F);
    if (planted_.at(M::sum_of_bf16)) round_to(DType::bf16, values);
    if (planted_.at(M::sum_of_f16)) round_to(DType::f16, values);
    group_->all_reduce(values);
    if (planted_.at(M::sum_doubled)) {
      for (float& value : values) value += value;
    }
    if (planted_.at(M::sum_averaged)) {
      for (float& value : values) value /= static_cast<float>(shards_);
    }
  }

  void send_on(std::span<const std::byte> bytes) override {
    std::vector<std::byte> rows(bytes.begin(), bytes.end());
    if (planted_.is(M::rows_of_piece_before) && !before_.empty()) {
      (void)planted_.at(M::rows_of_piece_before);
      std::copy_n(before_.begin(), std::min(before_.size(), rows.size()), rows.begin());
    }
    if (planted_.at(M::rows_bf16)) {
      std::vector<float> values(rows.size() / sizeof(float));
      std::memcpy(values.data(), rows.data(), rows.size());
      round_to(DType::bf16, values);
      std::memcpy(rows.data(), values.data(), rows.size());
    }
    before_.assign(bytes.begin(), bytes.end());
    group_->send_on(rows);
  }

  void receive(std::span<std::byte> bytes) override { group_->receive(bytes); }

 private:
  [[nodiscard]] bool leaves_out(bool of_attention) const {
    return planted_.at(M::sum_without_one) || planted_.at(of_attention ? M::attention_without_one : M::mlp_without_one);
  }

  std::shared_ptr<backends::Group> group_;
  ParallelPlanted planted_;
  Index shards_;
  bool last_shard_;
  Index sums_per_layer_, sums_ = 0;
  std::vector<std::byte> before_;  // what was sent last
};

}  // namespace

std::shared_ptr<backends::Group> make_lying_group(std::shared_ptr<backends::Group> group,
                                                  const ParallelPlanted& planted, const Split& split, Index worker,
                                                  Index sums_per_layer) {
  return std::make_shared<LyingGroup>(std::move(group), planted, split, worker, sums_per_layer);
}

}  // namespace mlbench::selftest
