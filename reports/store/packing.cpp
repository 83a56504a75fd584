#include "reports/store/packing.h"

#include <openssl/sha.h>
#include <zlib.h>

#include <new>

namespace mlbench::reports {
namespace {

const Bytef* bytes_of(std::string_view text) { return reinterpret_cast<const Bytef*>(text.data()); }

}  // namespace

std::string digest_of(std::string_view text) {
  std::string out(SHA256_DIGEST_LENGTH, '\0');
  (void)SHA256(bytes_of(text), text.size(), reinterpret_cast<unsigned char*>(out.data()));
  return out;
}

std::string deflated(std::string_view text) {
  uLongf size = compressBound(text.size());
  std::string out(size, '\0');
  // The room is enough: what is left to go wrong is memory.
  if (compress2(reinterpret_cast<Bytef*>(out.data()), &size, bytes_of(text), text.size(), Z_DEFAULT_COMPRESSION) !=
      Z_OK)
    throw std::bad_alloc();
  out.resize(size);
  return out;
}

std::optional<std::string> inflated(std::string_view bytes, std::size_t size) {
  if (size > kLargestDocument) return std::nullopt;
  std::string out(size, '\0');
  uLongf length = size;
  const int code = uncompress(reinterpret_cast<Bytef*>(out.data()), &length, bytes_of(bytes), bytes.size());
  if (code == Z_MEM_ERROR) throw std::bad_alloc();
  if (code != Z_OK || length != size) return std::nullopt;
  return out;
}

}  // namespace mlbench::reports
