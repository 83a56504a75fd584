// What goes wrong, in one shape: a kind (it decides the exit code), a code (stable, for programs) and
// one line for people: what, where, and what would be right.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

namespace mlbench {

enum class ErrorKind {
  request,      // the request or a file it names is wrong: exit code 2
  unavailable,  // the backend or device is not there: exit code 3
  internal,     // a fault of mlbench or its environment (disk, memory): exit code 4
};

[[nodiscard]] int exit_code(ErrorKind kind);

class Error : public std::runtime_error {
 public:
  // `code` is a dotted name such as "config.value"; the codes are listed in docs/errors.md.
  Error(ErrorKind kind, std::string code, const std::string& message);

  [[nodiscard]] ErrorKind kind() const { return kind_; }
  [[nodiscard]] const std::string& code() const { return code_; }
  // The message without the code.
  [[nodiscard]] const std::string& message() const { return message_; }

 private:
  ErrorKind kind_;
  std::string code_;
  std::string message_;
};

// The most frequent kind.
[[nodiscard]] Error request_error(std::string code, const std::string& message);

// Text from a file or a user as it may stand inside a one-line message: in double quotes, control characters
// and quotes escaped, bytes outside ASCII kept when they are valid UTF-8 and escaped otherwise, cut at
// `limit` bytes.
[[nodiscard]] std::string in_quotes(std::string_view text, std::size_t limit = 200);

// The text with its control characters escaped: what is printed as one line stays one, whatever a path holds.
[[nodiscard]] std::string one_line(std::string_view text);

}  // namespace mlbench
