#include "core/hash.h"

#include <gtest/gtest.h>

namespace mlbench {
namespace {

// The vectors of draft-eastlake-fnv, appendix C.
TEST(Fnv1a, MatchesThePublishedVectors) {
  EXPECT_EQ(fnv1a(""), 0xcbf29ce484222325U);
  EXPECT_EQ(fnv1a("a"), 0xaf63dc4c8601ec8cU);
  EXPECT_EQ(fnv1a("foobar"), 0x85944171f73967e8U);
}

TEST(Fnv1a, TakesBytesAsUnsigned) { EXPECT_EQ(fnv1a("\xFF"), (0xcbf29ce484222325U ^ 0xFFU) * 0x100000001b3U); }

}  // namespace
}  // namespace mlbench
