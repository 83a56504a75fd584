// A file in the making: it lies beside its target under a name of its own until it is whole.
#pragma once

#include <cstddef>
#include <string>

namespace mlbench::golden {

class TemporaryFile {
 public:
  // Makes TARGET.XXXXXX, empty. Throws an internal error (file.unwritable) that names the target.
  explicit TemporaryFile(const std::string& target);
  // Removes it unless it was kept. So do SIGINT, SIGTERM and SIGHUP when they end the program; SIGKILL leaves it.
  ~TemporaryFile();
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;

  [[nodiscard]] const std::string& name() const { return name_; }
  // Renames it into the target's place. Same error.
  void keep();

 private:
  void forget();

  std::string target_;
  std::string name_;
  std::size_t slot_;
};

}  // namespace mlbench::golden
