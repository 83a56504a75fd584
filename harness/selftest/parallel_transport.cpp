#include "harness/selftest/parallel_transport.h"

#include <algorithm>

#include "harness/selftest/passing_session.h"

namespace mlbench::selftest {
namespace {

using backends::KvEntries;
using M = ParallelMistake;

class LyingTransport final : public backends::KvTransport {
 public:
  LyingTransport(std::shared_ptr<backends::KvTransport> transport, ParallelPlanted planted,
                 std::shared_ptr<const UnrotatedKeys> unrotated, Index first_layer)
      : transport_(std::move(transport)),
        planted_(std::move(planted)),
        unrotated_(std::move(unrotated)),
        first_layer_(first_layer) {}

  void attach(const backends::KvEndpoint& own) override { transport_->attach(own); }
  [[nodiscard]] backends::KvEndpoint own() const override { return transport_->own(); }
  [[nodiscard]] backends::KvEndpoint receiver(Index receiver_offset) const override {
    return transport_->receiver(receiver_offset);
  }
  [[nodiscard]] KvEntries receive() override { return transport_->receive(); }

  void send(Index receiver_offset, const KvEntries& entries) override {
    KvEntries wrong = entries;
    if (planted_.at(M::transfer_page_short)) leave_out_last_page(wrong);
    if (planted_.is(M::transfer_layers_shifted) && own().layers > 1) shift_layers(wrong);
    if (planted_.is(M::transfer_keys_unrotated)) unrotate(wrong);
    if (planted_.at(M::transfer_values_for_keys)) wrong.keys = wrong.values;
    transport_->send(receiver_offset, wrong);
  }

 private:
  [[nodiscard]] std::size_t layer_bytes(const KvEntries& entries) const {
    return entries.keys.size() / static_cast<std::size_t>(own().layers);
  }

  // What the receiver's slots held before stays there: nothing.
  void leave_out_last_page(KvEntries& entries) const {
    const std::vector<Index> slots = entries.slots.slots();
    const auto page = [this](Index slot) { return slot / own().page_size; };
    const auto left_out = std::ranges::count_if(slots, [&](Index slot) { return page(slot) == page(slots.back()); });
    const std::size_t layer = layer_bytes(entries), row = layer / slots.size();
    for (auto* values : {&entries.keys, &entries.values}) {
      for (std::size_t end = layer; end <= values->size(); end += layer)
        std::fill_n(values->begin() + static_cast<std::ptrdiff_t>(end - row * static_cast<std::size_t>(left_out)),
                    row * static_cast<std::size_t>(left_out), std::byte{0});
    }
  }

  void shift_layers(KvEntries& entries) const {
    (void)planted_.at(M::transfer_layers_shifted);
    for (auto* values : {&entries.keys, &entries.values})
      std::rotate(values->begin(), values->begin() + static_cast<std::ptrdiff_t>(layer_bytes(entries)), values->end());
  }

  // The entries of one call of one sequence: its rows, in their order.
  void unrotate(KvEntries& entries) const {
    const std::size_t layer = layer_bytes(entries);
    for (Index l = 0; l < own().layers; ++l) {
      const auto keys = unrotated_->find(first_layer_ + l);
      if (keys == unrotated_->end()) return;
      const Tensor<double> values = keys->second.widened();
      const std::span<std::byte> to = std::span(entries.keys).subspan(static_cast<std::size_t>(l) * layer, layer);
      if (values.values().size() * size_bytes(own().dtype) != to.size()) return;
      (void)planted_.at(M::transfer_keys_unrotated);
      narrow(own().dtype, values.values(), to.data());
    }
  }

  std::shared_ptr<backends::KvTransport> transport_;
  ParallelPlanted planted_;
  std::shared_ptr<const UnrotatedKeys> unrotated_;
  Index first_layer_;
};

class LyingTransports final : public backends::KvTransports {
 public:
  LyingTransports(std::shared_ptr<backends::KvTransports> transports, ParallelPlanted planted,
                  std::shared_ptr<const UnrotatedKeys> unrotated, Index first_layer)
      : transports_(std::move(transports)),
        planted_(std::move(planted)),
        unrotated_(std::move(unrotated)),
        first_layer_(first_layer) {}

  [[nodiscard]] std::shared_ptr<backends::KvTransport> next() override {
    return std::make_shared<LyingTransport>(transports_->next(), planted_, unrotated_, first_layer_);
  }

 private:
  std::shared_ptr<backends::KvTransports> transports_;
  ParallelPlanted planted_;
  std::shared_ptr<const UnrotatedKeys> unrotated_;
  Index first_layer_;
};

// Shows what is asked for, and keeps what keys are made of.
class KeepingSink final : public backends::TapSink {
 public:
  KeepingSink(backends::TapSink* shown, UnrotatedKeys& keys) : shown_(shown), keys_(keys) {}

  [[nodiscard]] bool wants(TapId id) const override { return id.tap == Tap::k_proj || shows(id); }
  void take(TapId id, const ConstTensorView& value) override {
    if (id.tap == Tap::k_proj) {
      HostTensor copy(value.dtype, value.shape);
      std::copy_n(value.data, copy.bytes().size(), copy.bytes().begin());
      keys_.insert_or_assign(id.layer, std::move(copy));
    }
    if (shows(id)) shown_->take(id, value);
  }

 private:
  [[nodiscard]] bool shows(TapId id) const { return shown_ != nullptr && shown_->wants(id); }

  backends::TapSink* shown_;
  UnrotatedKeys& keys_;
};

class KeepingSession final : public PassingSession {
 public:
  KeepingSession(std::unique_ptr<backends::Session> session, std::shared_ptr<UnrotatedKeys> keys)
      : PassingSession(std::move(session)), keys_(std::move(keys)) {}

  void forward(backends::Method method, const ConstTensorView& x, std::span<const std::int32_t> logit_positions,
               backends::KvCache& cache, const TensorView& out, backends::TapSink* taps) override {
    KeepingSink sink(taps, *keys_);
    session().forward(method, x, logit_positions, cache, out, &sink);
  }
  void run_part(const backends::Part& part, const ConstTensorView& x, backends::KvCache& cache, const TensorView& out,
                backends::TapSink* taps) override {
    KeepingSink sink(taps, *keys_);
    session().run_part(part, x, cache, out, &sink);
  }

 private:
  std::shared_ptr<UnrotatedKeys> keys_;
};

}  // namespace

std::shared_ptr<backends::KvTransports> make_lying_transports(std::shared_ptr<backends::KvTransports> transports,
                                                              const ParallelPlanted& planted,
                                                              std::shared_ptr<const UnrotatedKeys> unrotated,
                                                              Index first_layer) {
  return std::make_shared<LyingTransports>(std::move(transports), planted, std::move(unrotated), first_layer);
}

std::unique_ptr<backends::Session> keeping_keys(std::unique_ptr<backends::Session> session,
                                                std::shared_ptr<UnrotatedKeys> keys) {
  return std::make_unique<KeepingSession>(std::move(session), std::move(keys));
}

Index end_of(const ParallelPlanted& planted, const Split& split, Index worker) {
  if (split.tensor_parallel == 1 || !planted.at(M::transfer_to_other)) return worker;
  const Index shard = worker % split.tensor_parallel;
  return worker - shard + (shard + 1) % split.tensor_parallel;
}

}  // namespace mlbench::selftest
