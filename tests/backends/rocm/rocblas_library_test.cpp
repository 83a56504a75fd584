// rocBLAS is opened by name: what is missing is said, and what is there can be asked.
#include "backends/rocm/rocblas_library.h"

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/expect_error.h"

namespace mlbench::rocm {
namespace {

using testing::AllOf;
using testing::HasSubstr;

Error error_of_opening(const std::vector<std::string>& names) {
  return test::error_of([&] { static_cast<void>(open_rocblas(names)); });
}

TEST(RocblasLibrary, ThatIsNowhereIsNamedWithAllPlaces) {
  const Error error = error_of_opening({"librocblas.so.none", "/no/such/librocblas.so"});
  EXPECT_EQ(error.kind(), ErrorKind::unavailable);
  EXPECT_EQ(error.code(), "backend.unavailable");
  EXPECT_THAT(error.message(), AllOf(HasSubstr("rocBLAS"), HasSubstr("librocblas.so.none: cannot open"),
                                     HasSubstr("/no/such/librocblas.so: cannot open"), HasSubstr("part of ROCm")));
}

TEST(RocblasLibrary, OfAnotherKindLacksTheFirstFunction) {
  EXPECT_THAT(error_of_opening({"libm.so.6"}).message(), HasSubstr("libm.so.6 has no rocblas_create_handle"));
}

TEST(RocblasLibrary, ThatThisIsBuiltWithNamesItsVersionAndErrors) {
  try {
    static_cast<void>(rocblas());
  } catch (const Error& error) {
    GTEST_SKIP() << error.message();
  }
  EXPECT_NE(rocblas_version(), "");
  const Error error = test::error_of([] { check(rocblas(), rocblas_status_invalid_handle, "multiplying"); });
  EXPECT_EQ(error.code(), "backend.failed");
  EXPECT_THAT(error.message(), HasSubstr("rocm: rocBLAS: multiplying: "));
}

}  // namespace
}  // namespace mlbench::rocm
