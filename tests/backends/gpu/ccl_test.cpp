// What a library of NCCL's kind is asked for, seen by one that only writes it down: no device is needed.
#include "backends/gpu/vendor/ccl.h"

#include <array>
#include <vector>

#include <gmock/gmock.h>

#include "tests/support/expect_error.h"

namespace mlbench::gpu::vendor {
namespace {

using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;

// The vendor's part: streams are numbers' addresses, nothing fails.
struct SomeApi {
  using Status = int;
  using Stream = int*;
  static constexpr const char* kName = "some";
  static constexpr Status kSuccess = 0;
  static constexpr unsigned kNonBlocking = 1;
  static inline int stream = 0, current = -1;

  static Status create_stream(Stream* made, unsigned /*flags*/) {
    *made = &stream;
    return 0;
  }
  static Status destroy_stream(Stream /*stream*/) { return 0; }
  static Status synchronize_stream(Stream /*stream*/) { return 0; }
  static Status set_device(int device) {
    current = device;
    return 0;
  }
  static Status pci_id(char* text, int size, int device) {
    return std::snprintf(text, static_cast<std::size_t>(size), "0000:%02x:00.0", static_cast<unsigned>(device)) < 0;
  }
  static Status last_error() { return 0; }
  static const char* error_string(Status /*status*/) { return "none"; }
  static const char* error_name(Status /*status*/) { return "none"; }
};

struct Id {
  char internal[128];
};
enum class Answer { fine, broken };
enum class Type { float32 = 7 };
enum class How { sum = 0 };
using Names = Ccl<SomeApi, int*, Id, Answer::fine, Type::float32, How::sum>;

// What the library was asked.
struct Asked {
  Answer answer = Answer::fine;
  int ranks = 0, rank = -1, aborted = 0, communicator = 0;
  char first_of_id = 0;
  std::vector<std::size_t> counts;
  const void *from = nullptr, *to = nullptr;
  int* stream = nullptr;
};
Asked asked;  // the table's functions have no other way to it

Names::Functions functions() {
  Names::Functions f;
  f.get_version = [](int* version) {
    *version = 22809;
    return Answer::fine;
  };
  f.get_unique_id = [](Id* id) {
    id->internal[0] = 'x';
    return asked.answer;
  };
  f.join = [](int** made, int ranks, Id id, int rank) {
    asked.ranks = ranks;
    asked.rank = rank;
    asked.first_of_id = id.internal[0];
    *made = &asked.communicator;
    return asked.answer;
  };
  f.abort = [](int* communicator) {
    EXPECT_EQ(communicator, &asked.communicator);
    ++asked.aborted;
    return Answer::fine;
  };
  f.all_reduce = [](const void* from, void* to, std::size_t count, Type type, How how, int* communicator, int* stream) {
    EXPECT_EQ(type, Type::float32);
    EXPECT_EQ(how, How::sum);
    EXPECT_EQ(communicator, &asked.communicator);
    asked.counts.push_back(count);
    asked.from = from;
    asked.to = to;
    asked.stream = stream;
    return asked.answer;
  };
  f.error_string = [](Answer) { return "as the test wants it"; };
  return f;
}

TEST(CclLibrary, SumsInPlaceInTheStreamAndOnItsDevice) {
  asked = {};
  const Names::Functions library = functions();
  CclLibrary<Names> ccl(library, "CCL", 3);
  std::array<float, 5> rows{};
  {
    const auto collectives = ccl.join(ccl.new_meeting(), 4, 2);
    EXPECT_EQ(SomeApi::current, 3);
    EXPECT_EQ(asked.ranks, 4);
    EXPECT_EQ(asked.rank, 2);
    EXPECT_EQ(asked.first_of_id, 'x');
    VendorStream<SomeApi> stream(6);
    collectives->all_reduce(stream, rows.data(), 5);
    collectives->all_reduce(stream, rows.data(), 0);
    EXPECT_EQ(SomeApi::current, 6);
    EXPECT_TRUE(collectives->can_be_recorded());
  }
  EXPECT_THAT(asked.counts, ElementsAre(5));
  EXPECT_EQ(asked.from, rows.data());
  EXPECT_EQ(asked.to, rows.data());
  EXPECT_EQ(asked.stream, &SomeApi::stream);
  EXPECT_EQ(asked.aborted, 1);
}

TEST(CclLibrary, NamesItselfAndTheDeviceOfThisMachine) {
  const Names::Functions library = functions();
  EXPECT_EQ((CclLibrary<Names>(library, "CCL", 0).name()), "CCL 2.28.9");
  const std::string first = CclLibrary<Names>(library, "CCL", 0).device();
  EXPECT_THAT(first, MatchesRegex("[0-9a-f-]+ 0000:00:00.0"));
  EXPECT_THAT((CclLibrary<Names>(library, "CCL", 10).device()), EndsWith(" 0000:0a:00.0"));
}

TEST(CclLibrary, WhatFailsIsSaid) {
  asked = {};
  const Names::Functions library = functions();
  CclLibrary<Names> ccl(library, "CCL", 0);
  const auto collectives = ccl.join({}, 2, 0);
  asked.answer = Answer::broken;
  VendorStream<SomeApi> stream(0);
  float value = 0.0F;
  const Error sum = test::error_of([&] { collectives->all_reduce(stream, &value, 1); });
  EXPECT_EQ(sum.code(), "backend.failed");
  EXPECT_THAT(sum.message(), HasSubstr("some: CCL: queueing a sum: as the test wants it"));
  const Error joining = test::error_of([&] { (void)ccl.join({}, 2, 0); });
  EXPECT_THAT(joining.message(), HasSubstr("meeting the other shards: as the test wants it"));
  const Error meeting = test::error_of([&] { (void)ccl.new_meeting(); });
  EXPECT_THAT(meeting.message(), HasSubstr("making a meeting of shards: as the test wants it"));
}

TEST(CclLibrary, ThatIsNowhereIsNoError) {
  const std::array<std::string, 1> nowhere = {"libccl.so.none"};
  const Wanted wanted{"CCL, which sums,", "nobody has it"};
  EXPECT_EQ(make_ccl<Names>("CCL", wanted, nowhere, 0), nullptr);
  const Error error = test::error_of([&] { (void)open_ccl<Names>(wanted, nowhere); });
  EXPECT_EQ(error.kind(), ErrorKind::unavailable);
  EXPECT_THAT(error.message(), HasSubstr("CCL, which sums, cannot be opened: libccl.so.none: "));
}

}  // namespace
}  // namespace mlbench::gpu::vendor
