// A vendor's library, opened while the program runs: neither carried along nor needed where there is no device.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace mlbench::gpu::vendor {

// What can be opened, and what to say where it cannot.
struct Wanted {
  std::string_view what;   // "cuBLASLt, which multiplies matrices,"
  std::string_view where;  // "it comes with the CUDA toolkit"
};

// A library that is open, until the process ends.
class Library {
 public:
  // The first of `names` that can be opened. Throws ErrorKind::unavailable, backend.unavailable, saying what became of
  // each of them.
  Library(Wanted wanted, std::span<const std::string> names);

  // Sets it to the function of that name. Throws as above where there is none.
  template <class Function>
  void find(const char* symbol, Function& function) const {
    function = reinterpret_cast<Function>(address_of(symbol));
  }

 private:
  [[nodiscard]] void* address_of(const char* symbol) const;

  Wanted wanted_;
  std::string name_;
  void* handle_ = nullptr;
};

}  // namespace mlbench::gpu::vendor
