// What is said of devices, with one and without.
#include <cstdint>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "backends/gpu/vendor/platform.h"
#include "tests/backends/vendor/test_api.h"
#include "tests/support/expect_error.h"

namespace mlbench::gpu::vendor {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

TEST(Devices, AreThereOrThereIsAReasonInOneLine) {
  const Found found = look<Api>();
  EXPECT_EQ(found.devices.empty(), !found.why_none.empty());
  EXPECT_THAT(found.why_none, Not(HasSubstr("\n")));
}

TEST(Devices, HaveNamesAndMemory) {
  const Found found = look<Api>();
  if (found.devices.empty()) GTEST_SKIP() << found.why_none;
  for (const Device& device : found.devices) {
    EXPECT_GT(device.memory_bytes, 0U) << device.description;
    EXPECT_FALSE(device.description.empty());
  }
}

TEST(Devices, ThatAreNotThereCannotBeUsed) {
  for (const int device : {-1, 4096}) {
    const Error error = test::error_of([&] { static_cast<void>(make_runtime<Api>(device)); });
    EXPECT_EQ(error.kind(), ErrorKind::unavailable);
    EXPECT_EQ(error.code(), "backend.unavailable");
    EXPECT_THAT(error.message(), StartsWith(std::string(Api::kName) + ": "));
  }
}

TEST(Devices, LookingForThemLeavesNoErrorBehind) {
  if (const Found found = look<Api>(); found.devices.empty()) GTEST_SKIP() << found.why_none;
  EXPECT_EQ(Api::last_error(), Api::kSuccess);
}

TEST(Devices, AreThePlatforms) {
  const VendorPlatform<Api> platform;
  const Found found = look<Api>();
  ASSERT_EQ(platform.devices().size(), found.devices.size());
  EXPECT_EQ(platform.why_none(), found.why_none);
  for (std::size_t i = 0; i < found.devices.size(); ++i)
    EXPECT_EQ(platform.devices()[i].id, std::string(Api::kName) + ":" + std::to_string(found.devices[i].index));
}

TEST(VendorErrors, SayWhatWasBeingDone) {
  EXPECT_NO_THROW(check<Api>(Api::kSuccess, "nothing"));
  const Error error = test::error_of([] { check<Api>(Api::kNoDevice, "2.1 GiB for the cache"); });
  EXPECT_EQ(error.kind(), ErrorKind::internal);
  EXPECT_EQ(error.code(), "backend.failed");
  EXPECT_EQ(error.message(), std::string(Api::kName) + ": 2.1 GiB for the cache: " + text_of<Api>(Api::kNoDevice));
  EXPECT_THAT(error.message(), HasSubstr("ErrorNoDevice)"));
}

TEST(VendorErrors, AreNotSaidAgainOfTheNextCall) {
  if (const Found found = look<Api>(); found.devices.empty())
    GTEST_SKIP() << "without a driver the vendor says so for ever: " << found.why_none;
  void* memory = nullptr;
  const auto status = Api::malloc(&memory, std::size_t{1} << 60U);  // more than any device has
  ASSERT_NE(status, Api::kSuccess);
  EXPECT_THROW(check<Api>(status, "too much"), Error);
  EXPECT_EQ(Api::last_error(), Api::kSuccess);
}

TEST(VendorErrors, CountBytesAsPeopleDo) {
  EXPECT_EQ(readable_bytes(0), "0 bytes");
  EXPECT_EQ(readable_bytes((1U << 20U) - 1), "1048575 bytes");
  EXPECT_EQ(readable_bytes(1U << 20U), "1.0 MiB");
  EXPECT_EQ(readable_bytes(std::uint64_t{2254857830}), "2.1 GiB");
}

}  // namespace
}  // namespace mlbench::gpu::vendor
