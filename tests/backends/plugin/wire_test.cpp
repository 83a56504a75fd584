#include "backends/plugin/wire.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <thread>

#include <gtest/gtest.h>

namespace mlbench::plugin {
namespace {

std::vector<std::byte> joined(const Writer& writer) {
  std::vector<std::byte> out;
  for (const auto& piece : writer.pieces()) out.insert(out.end(), piece.begin(), piece.end());
  return out;
}

// Two ends of a socket.
std::array<int, 2> ends() {
  std::array<int, 2> fds{};
  EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds.data()), 0);
  return fds;
}

TEST(Wire, ReadsWhatWasWritten) {
  const std::vector<float> values = {1.0F, -2.5F, 3.0F};
  Writer writer;
  writer.number<std::int32_t>(-7);
  writer.text("text with \"quotes\" and \xC3\xA4");
  writer.tensor({DType::f32, {3, 1}, reinterpret_cast<const std::byte*>(values.data())});
  writer.list(std::span<const float>(values));
  writer.form(DType::bf16, {});
  const auto bytes = joined(writer);
  Reader reader(bytes);
  EXPECT_EQ(reader.number<std::int32_t>(), -7);
  EXPECT_EQ(reader.text(), "text with \"quotes\" and \xC3\xA4");
  const ConstTensorView view = reader.tensor();
  EXPECT_EQ(view.shape, (Shape{3, 1}));
  const auto bytes_of_values = std::as_bytes(std::span(values));
  EXPECT_TRUE(std::equal(bytes_of_values.begin(), bytes_of_values.end(), view.data));
  EXPECT_EQ(reader.list<float>(), values);
  EXPECT_EQ(reader.form(), (std::pair<DType, Shape>(DType::bf16, {})));
  EXPECT_NO_THROW(reader.end());
}

TEST(Wire, EveryMessageThatIsCutShortIsMalformed) {
  const std::vector<float> values = {1.0F, 2.0F};
  Writer writer;
  writer.text("name");
  writer.tensor({DType::f32, {2}, reinterpret_cast<const std::byte*>(values.data())});
  put(writer, backends::Arithmetic{});
  const auto bytes = joined(writer);
  const auto read_all = [](std::span<const std::byte> some) {
    Reader reader(some);
    (void)reader.text();
    (void)reader.tensor();
    (void)get<backends::Arithmetic>(reader);
    reader.end();
  };
  EXPECT_NO_THROW(read_all(bytes));
  for (std::size_t size = 0; size < bytes.size(); ++size)
    EXPECT_THROW(read_all(std::span(bytes).first(size)), Malformed) << size;
  std::vector<std::byte> longer = bytes;
  longer.push_back({});
  EXPECT_THROW(read_all(longer), Malformed);
}

TEST(Wire, SizesThatCannotBeAreMalformed) {
  Writer list;
  list.number<std::uint64_t>(std::uint64_t{1} << 62U);
  const auto huge = joined(list);
  EXPECT_THROW((void)Reader(huge).list<double>(), Malformed);
  for (const Shape& shape : {Shape{-1}, Shape{std::int64_t{1} << 40U, std::int64_t{1} << 40U}}) {
    Writer form;
    form.form(DType::f32, shape);
    const auto bytes = joined(form);
    EXPECT_THROW((void)Reader(bytes).tensor(), Malformed) << to_string(shape);
  }
  Writer type;
  type.number<std::uint32_t>(4);
  const auto bytes = joined(type);
  EXPECT_THROW((void)Reader(bytes).dtype(), Malformed);
}

TEST(Channel, CarriesMoreThanASocketHolds) {
  const auto fds = ends();
  Channel a(fds[0]), b(fds[1]);
  std::vector<std::byte> large(40U << 20U);
  for (std::size_t i = 0; i < large.size(); ++i) large[i] = static_cast<std::byte>(i * 7 / 3);
  std::thread sender([&] {
    Writer writer;
    writer.number<std::int32_t>(1);
    writer.borrow(large);
    writer.number<std::int32_t>(2);
    a.send(9, writer);
  });
  const Channel::Message message = b.receive();
  sender.join();
  EXPECT_EQ(message.kind, 9U);
  Reader reader(message.bytes);
  EXPECT_EQ(reader.number<std::int32_t>(), 1);
  const auto got = reader.take(large.size());
  EXPECT_TRUE(std::equal(got.begin(), got.end(), large.begin()));
  EXPECT_EQ(reader.number<std::int32_t>(), 2);
}

// Memory is taken as bytes arrive.
TEST(Channel, APromiseOfMoreThanThereIsMemoryIsOnlyAPromise) {
  const auto fds = ends();
  Channel channel(fds[0]);
  const struct {
    std::uint32_t mark = 0x6D6C6270, kind = 0;
    std::uint64_t size = ~std::uint64_t{0} >> 1U, shared = 0;
  } head;
  ASSERT_EQ(::write(fds[1], &head, sizeof head), static_cast<ssize_t>(sizeof head));
  ::close(fds[1]);
  EXPECT_THROW((void)channel.receive(), Closed);
}

// Both ends of shared memory: large messages go there, one in the place of the other, and small ones do not.
TEST(Channel, SharesWhatIsLarge) {
  const auto fds = ends();
  const int there = make_arena_file(), back = make_arena_file();
  Channel a(fds[0]), b(fds[1]);
  a.share(there, back);
  b.share(back, there);
  for (const std::size_t size : {10U, 70'000U, 5'000'000U, 100'000U}) {
    std::vector<std::byte> bytes(size);
    for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(i * 5 / 3 + size);
    Writer writer;
    writer.number<std::int32_t>(3);
    writer.borrow(bytes);
    a.send(1, writer, std::nullopt, true);
    const Channel::Message message = b.receive();
    ASSERT_EQ(message.bytes.size(), size + 4);
    EXPECT_TRUE(std::equal(bytes.begin(), bytes.end(), message.bytes.begin() + 4));
  }
  ::close(there);
  ::close(back);
}

TEST(Channel, ASharedMessageThatIsNotThereIsMalformed) {
  const auto fds = ends();
  const int there = make_arena_file(), back = make_arena_file();
  Channel channel(fds[0]);
  const struct {
    std::uint32_t mark = 0x6D6C6270, kind = 0;
    std::uint64_t size = 1000, shared = 1;
  } head;
  ASSERT_EQ(::write(fds[1], &head, sizeof head), static_cast<ssize_t>(sizeof head));
  EXPECT_THROW((void)channel.receive(), Malformed);
  channel.share(there, back);
  ASSERT_EQ(::write(fds[1], &head, sizeof head), static_cast<ssize_t>(sizeof head));
  EXPECT_THROW((void)channel.receive(), Malformed);
  // What has been mapped stays: the file cannot be cut short under the reader's feet.
  ASSERT_EQ(::ftruncate(back, 2000), 0);
  EXPECT_NE(::ftruncate(back, 0), 0);
  for (const int fd : {fds[1], there, back}) ::close(fd);
}

TEST(Channel, ADeadlineIsKeptInBothDirections) {
  const auto fds = ends();
  Channel a(fds[0]), b(fds[1]);
  const auto soon = [] { return Deadline(std::chrono::steady_clock::now() + std::chrono::milliseconds(20)); };
  EXPECT_THROW((void)a.receive(soon()), TimedOut);
  const std::vector<std::byte> large(8U << 20U);
  Writer writer;
  writer.borrow(large);
  EXPECT_THROW(a.send(0, writer, soon()), TimedOut);
}

TEST(Channel, SaysWhetherSomethingHasCome) {
  const auto fds = ends();
  Channel a(fds[0]);
  EXPECT_FALSE(a.has_something(0));
  {
    Channel b(fds[1]);
    b.send(1, Writer());
    EXPECT_TRUE(a.has_something(0));
    (void)a.receive();
    EXPECT_FALSE(a.has_something(0));
  }
  EXPECT_TRUE(a.has_something(0)) << "the other end is gone, and that is to be heard";
}

TEST(Channel, WithNobodyAtTheOtherEndIsClosed) {
  const auto fds = ends();
  Channel a(fds[0]);
  ::close(fds[1]);
  EXPECT_THROW((void)a.receive(), Closed);
  EXPECT_THROW(a.send(0, Writer()), Closed);
}

}  // namespace
}  // namespace mlbench::plugin
