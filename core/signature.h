// Digests and signatures of files: SHA-256 (FIPS 180-4) and Ed25519 (RFC 8032), by OpenSSL.
#pragma once

#include <memory>
#include <string>
#include <string_view>

namespace mlbench {

// As 64 hexadecimal digits, lower case.
[[nodiscard]] std::string sha256_of_text(std::string_view text);
// Throws file.missing, file.not_a_file or file.unreadable.
[[nodiscard]] std::string sha256_of_file(const std::string& path);

// Who can sign: the private half of an Ed25519 key.
class SigningKey {
 public:
  // A PEM file such as `openssl genpkey -algorithm ed25519` writes. Throws the errors of reading a file, and sign.key
  // (a request error) where it holds no such key or is encrypted.
  [[nodiscard]] static SigningKey read(const std::string& file);

  [[nodiscard]] std::string sign(std::string_view text) const;  // 64 bytes
  [[nodiscard]] std::string public_pem() const;

 private:
  explicit SigningKey(std::shared_ptr<void> key) : key_(std::move(key)) {}
  std::shared_ptr<void> key_;  // EVP_PKEY
};

// Who can check: the public half.
class PublicKey {
 public:
  // From a PEM text, of which `where` says in errors where it came from. Throws sign.key.
  [[nodiscard]] static PublicKey from_pem(const std::string& pem, const std::string& where);
  [[nodiscard]] static PublicKey read(const std::string& file);

  [[nodiscard]] bool verifies(std::string_view text, std::string_view signature) const;
  // SHA-256 of the key as DER (SubjectPublicKeyInfo): what `openssl pkey -pubin -outform DER | sha256sum` prints.
  [[nodiscard]] std::string fingerprint() const;

 private:
  explicit PublicKey(std::shared_ptr<void> key) : key_(std::move(key)) {}
  std::shared_ptr<void> key_;  // EVP_PKEY
};

}  // namespace mlbench
