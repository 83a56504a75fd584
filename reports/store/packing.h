// Documents as they are kept: deflated (RFC 1950), and found by their SHA-256.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace mlbench::reports {

inline constexpr std::size_t kLargestDocument = std::size_t{1} << 30U;  // bytes

[[nodiscard]] std::string digest_of(std::string_view text);  // 32 bytes
[[nodiscard]] std::string deflated(std::string_view text);
// Nothing where the bytes do not become a text of that size.
[[nodiscard]] std::optional<std::string> inflated(std::string_view bytes, std::size_t size);

}  // namespace mlbench::reports
