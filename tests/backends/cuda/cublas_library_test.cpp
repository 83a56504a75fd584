// cuBLASLt is opened by name: what is missing is said, and what is there can be asked.
#include "backends/cuda/cublas_library.h"

#include <array>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/expect_error.h"

namespace mlbench::cuda {
namespace {

using testing::AllOf;
using testing::HasSubstr;

Error error_of_opening(const std::vector<std::string>& names) {
  return test::error_of([&] { static_cast<void>(open_cublas(names)); });
}

TEST(CublasLibrary, ThatIsNowhereIsNamedWithAllPlaces) {
  const Error error = error_of_opening({"libcublasLt.so.none", "/no/such/libcublasLt.so"});
  EXPECT_EQ(error.kind(), ErrorKind::unavailable);
  EXPECT_EQ(error.code(), "backend.unavailable");
  EXPECT_THAT(error.message(), AllOf(HasSubstr("cuBLASLt"), HasSubstr("libcublasLt.so.none: cannot open"),
                                     HasSubstr("/no/such/libcublasLt.so: cannot open"), HasSubstr("CUDA toolkit")));
}

TEST(CublasLibrary, OfAnotherKindLacksTheFirstFunction) {
  const Error error = error_of_opening({"libm.so.6"});
  EXPECT_EQ(error.kind(), ErrorKind::unavailable);
  EXPECT_THAT(error.message(), HasSubstr("libm.so.6 has no cublasLtCreate"));
}

TEST(CublasLibrary, OfTheToolkitIsOfTheVersionThisIsBuiltFor) {
  try {
    static_cast<void>(cublas());
  } catch (const Error& error) {
    GTEST_SKIP() << error.message();
  }
  EXPECT_EQ(cublas().get_version() / 10000, static_cast<std::size_t>(CUBLAS_VER_MAJOR));
  EXPECT_EQ(&cublas(), &cublas());
  const Error error = test::error_of([] { check(cublas(), CUBLAS_STATUS_NOT_SUPPORTED, "multiplying"); });
  EXPECT_EQ(error.code(), "backend.failed");
  EXPECT_THAT(error.message(), HasSubstr("cuda: cuBLASLt: multiplying: "));
}

TEST(CublasLibrary, VersionIsReadAsPeopleWriteIt) { EXPECT_EQ(version_text(130102), "13.1.2"); }

}  // namespace
}  // namespace mlbench::cuda
