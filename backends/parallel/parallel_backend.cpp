#include "backends/parallel/parallel_backend.h"

#include <algorithm>
#include <iterator>
#include <numeric>

#include <fmt/format.h>

#include "backends/parallel/disaggregated_session.h"
#include "backends/parallel/joined_taps.h"
#include "backends/parallel/parallel_cache.h"
#include "core/error.h"
#include "models/parallel_rules.h"

namespace mlbench::parallel {
namespace {

using backends::Part;
using backends::RunConfig;
using backends::Support;

// Results that several workers give and that must be the same.
class Replies {
 public:
  // `from`: the workers that give them.
  Replies(std::vector<Index> from, const TensorView& out) : from_(std::move(from)), first_(out) {
    for (std::size_t i = 1; i < from_.size(); ++i) {
      HostTensor& other = others_.emplace_back(out.dtype, out.shape);
      std::copy_n(out.data, other.bytes().size(), other.bytes().begin());  // padding is left as it is
    }
  }
  // Nothing to write to for a worker that gives none.
  [[nodiscard]] TensorView of(Index worker) {
    const auto at = std::ranges::find(from_, worker);
    if (at == from_.end()) return {first_.dtype, first_.shape, nullptr};
    return at == from_.begin() ? first_ : others_[static_cast<std::size_t>(at - from_.begin() - 1)].view();
  }
  void require_same(const Team& team, std::string_view doing) const {
    for (std::size_t i = 0; i < others_.size(); ++i) {
      const std::span<const std::byte> of_first(first_.data, others_[i].bytes().size());
      team.require_same(doing, "their result", from_[0], of_first, from_[i + 1], others_[i].bytes());
    }
  }

 private:
  std::vector<Index> from_;
  TensorView first_;
  std::vector<HostTensor> others_;
};

class ParallelSession final : public backends::Session, public MeasuredWorkers {
 public:
  explicit ParallelSession(std::shared_ptr<Team> team) : team_(std::move(team)) {}

  [[nodiscard]] backends::Arithmetic arithmetic() const override { return team_->session(0).arithmetic(); }
  [[nodiscard]] Support gives(Tap tap) const override { return team_->session(0).gives(tap); }
  [[nodiscard]] Support isolates_layers() const override { return team_->session(0).isolates_layers(); }

  [[nodiscard]] std::unique_ptr<backends::KvCache> create_paged_kv_cache(const KvLimits& limits) override {
    return std::make_unique<ParallelCache>(team_, limits);
  }

  void embed(std::span<const std::int32_t> ids, const TensorView& out) override {
    everybody("embed", out, [&](Index worker, const TensorView& own) { team_->session(worker).embed(ids, own); });
  }
  void get_logits(const ConstTensorView& hidden, const TensorView& out) override {
    everybody("get_logits", out,
              [&](Index worker, const TensorView& own) { team_->session(worker).get_logits(hidden, own); });
  }
  void batch_select_last_hidden_states(const ConstTensorView& hidden, std::span<const std::int32_t> positions,
                                       const TensorView& out) override {
    everybody("batch_select_last_hidden_states", out, [&](Index worker, const TensorView& own) {
      team_->session(worker).batch_select_last_hidden_states(hidden, positions, own);
    });
  }

  void forward(backends::Method method, const ConstTensorView& x, std::span<const std::int32_t> logit_positions,
               backends::KvCache& cache, const TensorView& out, backends::TapSink* taps) override {
    ParallelCache& own = own_cache(cache);
    const std::string_view doing = backends::name(method);
    Replies replies(workers_of_stage(team_->split().pipeline_parallel - 1), out);
    std::optional<JoinedTaps> joined;
    if (taps != nullptr) joined.emplace(*team_, *taps);
    team_->all(doing, [&](Index worker) {
      ConstTensorView own_x = x;
      if (team_->stage_of(worker) > 0) own_x.data = nullptr;
      team_->session(worker).forward(method, own_x, logit_positions, own.of(worker), replies.of(worker),
                                     joined ? joined->of(worker) : nullptr);
    });
    if (joined) joined->show(doing);  // first: it knows in which tap workers began to differ
    replies.require_same(*team_, doing);
  }

  void run_part(const Part& part, const ConstTensorView& x, backends::KvCache& cache, const TensorView& out,
                backends::TapSink* taps) override {
    ParallelCache& own = own_cache(cache);
    const Index stage = stage_of(part);
    Replies replies(workers_of_stage(stage), out);
    std::optional<JoinedTaps> joined;
    if (taps != nullptr) joined.emplace(*team_, *taps);
    team_->stage(stage, "run_part", [&](Index worker) {
      team_->session(worker).run_part(part, x, own.of(worker), replies.of(worker),
                                      joined ? joined->of(worker) : nullptr);
    });
    if (joined) joined->show("run_part");
    replies.require_same(*team_, "run_part");
  }

  [[nodiscard]] std::vector<WorkerTimes> take_times(bool with_events) override {
    return team_->holders().take_times(team_->workers(), with_events);
  }

  void synchronize() override {
    team_->all("synchronize", [this](Index worker) { team_->session(worker).synchronize(); });
  }

 private:
  // What every worker can do by itself: all do it.
  template <class Ask>
  void everybody(std::string_view doing, const TensorView& out, const Ask& ask) {
    std::vector<Index> everyone(static_cast<std::size_t>(team_->workers()));
    std::iota(everyone.begin(), everyone.end(), 0);
    Replies replies(std::move(everyone), out);
    team_->all(doing, [&](Index worker) { ask(worker, replies.of(worker)); });
    replies.require_same(*team_, doing);
  }

  // In every replica.
  [[nodiscard]] std::vector<Index> workers_of_stage(Index stage) const {
    std::vector<Index> out;
    for (Index worker = 0; worker < team_->workers(); ++worker) {
      if (team_->stage_of(worker) == stage) out.push_back(worker);
    }
    return out;
  }

  [[nodiscard]] Index stage_of(const Part& part) const {
    const Index last = team_->split().pipeline_parallel - 1;
    switch (part.kind) {
      case Part::Kind::enter: return 0;
      case Part::Kind::final_norm: return last;
      case Part::Kind::layer: break;
    }
    for (Index stage = 0; stage < last; ++stage) {
      const LayerRange layers = team_->layers(stage);
      if (part.layer < layers.first + layers.count) return stage;
    }
    return last;
  }

  ParallelCache& own_cache(backends::KvCache& cache) const {
    auto* own = dynamic_cast<ParallelCache*>(&cache);
    if (own != nullptr && &own->team() == team_.get()) return *own;
    throw request_error("kv.state", "the cache was made by another session: take one from create_paged_kv_cache");
  }

  std::shared_ptr<Team> team_;
};

class ParallelBackend final : public backends::Backend {
 public:
  ParallelBackend(backends::Backend& backend, HoldersOf holders) : backend_(backend), holders_(std::move(holders)) {}

  [[nodiscard]] std::string_view name() const override { return backend_.name(); }
  [[nodiscard]] std::string version() const override { return backend_.version(); }
  [[nodiscard]] std::vector<backends::DeviceInfo> devices() const override { return backend_.devices(); }
  [[nodiscard]] std::string why_none() const override { return backend_.why_none(); }

  [[nodiscard]] Support supports(const ModelConfig& config, const RunConfig& run) const override {
    if (const auto fault = fault_of(config, split_of(run))) {
      const bool shards = fault->number == SplitFault::Number::shards;
      return Support::no(fmt::format("{} parallel {}: {}", shards ? "tensor" : "pipeline",
                                     shards ? run.tensor_parallel : run.pipeline_parallel, fault->rule));
    }
    if (const auto rule = run.disaggregated ? why_not_apart(config) : std::nullopt)
      return Support::no("prefill and decode apart: " + *rule);
    return backend_.supports(config, run);
  }

  [[nodiscard]] backends::MemoryEstimate memory(const ModelConfig& config, const RunConfig& run,
                                                const KvLimits& limits) const override {
    backends::MemoryEstimate sum;
    for (Index worker = 0; worker < workers_of(run); ++worker) {
      const backends::MemoryEstimate own =
          backend_.memory(config, run_of_worker(run, config.num_layers, worker), limits);
      sum.weights_bytes += own.weights_bytes;
      sum.cache_bytes += own.cache_bytes;
      sum.scratch_bytes += own.scratch_bytes;
    }
    return sum;
  }

  [[nodiscard]] std::unique_ptr<backends::Session> load(const Model& model, const RunConfig& run) override {
    if (const Support support = supports(model.config, run); !support)
      throw request_error("config.unsupported", support.reason);
    PartHolders* const holders = holders_(run);
    if (holders == nullptr) return backend_.load(model, run);
    LoadedParts loaded = holders->load(model, run);
    if (run.disaggregated) return apart(model.config, run, std::move(loaded), *holders);
    return make_parallel_session(model.config, {split_of(run), run.replicas}, std::move(loaded), *holders);
  }

  [[nodiscard]] std::optional<backends::DeviceRates> measure_rates(const RunConfig& run, double seconds) override {
    return backend_.measure_rates(run, seconds);
  }

 private:
  // Two instances as one session.
  static std::unique_ptr<backends::Session> apart(const ModelConfig& config, const RunConfig& run, LoadedParts loaded,
                                                  PartHolders& holders) {
    const Index of_instance = workers_of_instance(run);
    LoadedParts decode;
    const auto move_second_half = [](auto& from, auto& to) {
      const auto half = static_cast<std::ptrdiff_t>(from.size() / 2);
      to.assign(std::move_iterator(from.begin() + half), std::move_iterator(from.end()));
      from.resize(static_cast<std::size_t>(half));
    };
    move_second_half(loaded.models, decode.models);
    move_second_half(loaded.sessions, decode.sessions);
    Instances both;
    TeamShape shape{split_of(run), run.replicas};
    both.prefill = make_parallel_session(config, shape, std::move(loaded), holders);
    shape.first = of_instance;
    both.decode = make_parallel_session(config, shape, std::move(decode), holders);
    both.receiver_offset = of_instance;
    both.take_times = [&holders, count = workers_of(run)](bool with_events) {
      return holders.take_times(count, with_events);
    };
    return make_disaggregated_session(config, std::move(both));
  }

  backends::Backend& backend_;
  HoldersOf holders_;
};

}  // namespace

std::unique_ptr<backends::Backend> make_parallel_backend(backends::Backend& backend, HoldersOf holders) {
  return std::make_unique<ParallelBackend>(backend, std::move(holders));
}

std::unique_ptr<backends::Session> make_parallel_session(const ModelConfig& config, const TeamShape& shape,
                                                         LoadedParts loaded, PartHolders& holders) {
  return std::make_unique<ParallelSession>(std::make_shared<Team>(config, shape, std::move(loaded), holders));
}

}  // namespace mlbench::parallel
