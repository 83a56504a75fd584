// What the control groups that this process is in leave of the machine: those of a container, or of a service.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

namespace mlbench::machine {

// As /proc and /sys tell it, of both versions of control groups. Nothing where there is no limit.
[[nodiscard]] std::optional<double> cpu_quota(const std::filesystem::path& proc, const std::filesystem::path& sys);
[[nodiscard]] std::optional<std::uint64_t> memory_limit(const std::filesystem::path& proc,
                                                        const std::filesystem::path& sys);

}  // namespace mlbench::machine
