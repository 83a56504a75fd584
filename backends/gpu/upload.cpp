#include "backends/gpu/upload.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "backends/stack/weights.h"
#include "core/dtype.h"

namespace mlbench::gpu {

Upload::Upload(Runtime& runtime, Stream& stream, DType stored) : runtime_(runtime), stream_(stream), stored_(stored) {
  for (Buffer& buffer : buffers_) buffer.copied = runtime.make_event();
}

Upload::Buffer& Upload::next(std::uint64_t bytes) {
  Buffer& buffer = buffers_[turn_++ % std::size(buffers_)];
  if (std::exchange(buffer.in_use, false)) buffer.copied->wait();
  const std::uint64_t wanted = std::max(bytes, kBufferBytes);
  if (buffer.memory.bytes() < wanted) buffer.memory = Pinned(runtime_, wanted, "staged weights");
  return buffer;
}

void Upload::send(Buffer& buffer, std::byte* to, std::uint64_t bytes) {
  runtime_.copy_in(stream_, to, buffer.memory.data(), bytes);
  buffer.copied->record(stream_);
  buffer.in_use = true;
}

Memory Upload::matrix(std::span<const WeightView> parts, std::string_view what) {
  const auto row_bytes = static_cast<std::uint64_t>(parts.front().cols) * size_bytes(stored_);
  std::uint64_t bytes = 0;
  for (const WeightView& part : parts) bytes += static_cast<std::uint64_t>(part.rows) * row_bytes;
  Memory out(runtime_, bytes, what);
  auto* to = static_cast<std::byte*>(out.data());
  const Index at_once = std::max<Index>(1, static_cast<Index>(kBufferBytes / row_bytes));
  std::vector<double> wide(static_cast<std::size_t>(parts.front().cols));
  for (const WeightView& part : parts) {
    for (Index row = 0; row < part.rows; row += at_once) {
      const Index count = std::min(at_once, part.rows - row);
      const std::uint64_t size = static_cast<std::uint64_t>(count) * row_bytes;
      Buffer& buffer = next(size);
      auto* from = static_cast<std::byte*>(buffer.memory.data());
      if (part.dtype == stored_) {
        std::memcpy(from, part.slice(row, count).data, size);
      } else {
        for (Index i = 0; i < count; ++i) {
          part.widen_row(row + i, wide);
          narrow(stored_, wide, from + static_cast<std::uint64_t>(i) * row_bytes);
        }
      }
      send(buffer, to, size);
      to += size;
    }
  }
  return out;
}

Memory Upload::vector(std::span<const WeightView> parts, std::string_view what) {
  std::vector<float> values;
  for (const WeightView& part : parts) {
    values.resize(values.size() + static_cast<std::size_t>(part.cols));
    stack::rounded_row(part, 0, stored_, std::span(values).last(static_cast<std::size_t>(part.cols)));
  }
  return sent(values, what);
}

Memory Upload::biases(std::span<const WeightView> parts, TensorRole product, Index shards) {
  std::vector<float> values;
  for (const WeightView& part : parts) {
    const std::vector<float> own = stack::bias_of(part, product, stored_, shards);
    values.insert(values.end(), own.begin(), own.end());
  }
  return sent(values, "biases");
}

Memory Upload::sent(std::span<const float> values, std::string_view what) {
  const std::uint64_t bytes = values.size_bytes();
  Memory out(runtime_, bytes, what);
  Buffer& buffer = next(bytes);
  std::memcpy(buffer.memory.data(), values.data(), bytes);
  send(buffer, static_cast<std::byte*>(out.data()), bytes);
  return out;
}

void Upload::finish() {
  stream_.synchronize();
  for (Buffer& buffer : buffers_) buffer.in_use = false;
}

}  // namespace mlbench::gpu
