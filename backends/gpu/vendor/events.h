// A vendor's events and graphs behind the interface.
#pragma once

#include <utility>

#include "backends/gpu/vendor/stream.h"

namespace mlbench::gpu::vendor {

template <class Api>
class VendorEvent final : public Event {
 public:
  VendorEvent() : event_(nullptr, Api::destroy_event) {
    typename Api::Event raw = nullptr;
    check<Api>(Api::create_event(&raw, Api::kWithoutTiming), "making an event");
    event_.reset(raw);
  }

  void record(Stream& stream) override {
    check<Api>(Api::record_event(event_.get(), native<Api>(stream)), "marking a point in a stream");
  }
  void hold(Stream& stream) override {
    check<Api>(Api::hold_stream(native<Api>(stream), event_.get(), 0), "letting a stream wait");
  }
  void wait() override { check<Api>(Api::synchronize_event(event_.get()), "waiting for a point in a stream"); }

 private:
  Owned<Api, typename Api::Event> event_;
};

template <class Api>
class VendorGraph final : public Graph {
 public:
  explicit VendorGraph(typename Api::Graph recorded) : graph_(nullptr, Api::destroy_instance) {
    typename Api::GraphInstance raw = nullptr;
    check<Api>(Api::instantiate(&raw, recorded), "making a graph of what was recorded");
    graph_.reset(raw);
  }

  void launch(Stream& stream) override {
    check<Api>(Api::launch_graph(graph_.get(), native<Api>(stream)), "queueing a graph");
  }

 private:
  Owned<Api, typename Api::GraphInstance> graph_;
};

// A stream that records from here to take(), or to the end of this.
template <class Api>
class Recording {
 public:
  using Recorded = Owned<Api, typename Api::Graph>;

  explicit Recording(typename Api::Stream stream) : stream_(stream) {
    check<Api>(Api::begin_capture(stream_, Api::kCaptureOfThread), "beginning to record");
  }
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;
  ~Recording() {
    if (stream_ == nullptr) return;
    static_cast<void>(end());  // the stream is to be of use again
    static_cast<void>(Api::last_error());
  }

  [[nodiscard]] Recorded take() {
    auto [status, graph] = end();
    check<Api>(status, "recording what a stream is to do");
    return std::move(graph);
  }

 private:
  std::pair<typename Api::Status, Recorded> end() {
    typename Api::Graph raw = nullptr;
    const typename Api::Status status = Api::end_capture(std::exchange(stream_, nullptr), &raw);
    return {status, Recorded(raw, Api::destroy_graph)};
  }

  typename Api::Stream stream_;
};

}  // namespace mlbench::gpu::vendor
