#include "core/signature.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <array>
#include <span>

#include <fmt/format.h>

#include "core/error.h"
#include "core/file_map.h"

namespace mlbench {
namespace {

using Bio = std::unique_ptr<BIO, decltype(&BIO_free)>;
using Context = std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)>;

constexpr std::size_t kLargestKeyFile = 65536;
constexpr std::size_t kSignatureBytes = 64;

const unsigned char* bytes_of(std::string_view text) { return reinterpret_cast<const unsigned char*>(text.data()); }

EVP_PKEY* raw(const std::shared_ptr<void>& key) { return static_cast<EVP_PKEY*>(key.get()); }

std::shared_ptr<void> owned(EVP_PKEY* key) {
  return {key, [](void* one) { EVP_PKEY_free(static_cast<EVP_PKEY*>(one)); }};
}

Bio reading(const std::string& text) {
  return {BIO_new_mem_buf(text.data(), static_cast<int>(text.size())), &BIO_free};
}

Context new_context() { return {EVP_MD_CTX_new(), &EVP_MD_CTX_free}; }

Error failed(const char* doing) {
  return Error(ErrorKind::internal, "internal", fmt::format("OpenSSL cannot {}", doing));
}

std::string sha256(std::span<const unsigned char> bytes) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  if (EVP_Digest(bytes.data(), bytes.size(), digest.data(), &size, EVP_sha256(), nullptr) != 1)
    throw failed("compute SHA-256");
  std::string out;
  for (unsigned i = 0; i < size; ++i) out += fmt::format("{:02x}", digest[i]);
  return out;
}

// Gives no passphrase, and notes that one was asked for.
int no_passphrase(char*, int, int, void* asked) {
  *static_cast<bool*>(asked) = true;
  return -1;
}

void require_ed25519(const EVP_PKEY* key, const std::string& where) {
  if (EVP_PKEY_is_a(key, "ED25519") == 1) return;
  const char* type = EVP_PKEY_get0_type_name(key);
  throw request_error("sign.key", fmt::format("{}: is a key of type {}: must be Ed25519 (openssl genpkey -algorithm "
                                              "ed25519)",
                                              where, type == nullptr ? "unknown" : type));
}

}  // namespace

std::string sha256_of_text(std::string_view text) { return sha256({bytes_of(text), text.size()}); }

std::string sha256_of_file(const std::string& path) {
  const FileMap file(path);
  return sha256({reinterpret_cast<const unsigned char*>(file.bytes().data()), file.bytes().size()});
}

SigningKey SigningKey::read(const std::string& file) {
  const std::string pem = read_text_file(file, kLargestKeyFile);
  bool encrypted = false;
  EVP_PKEY* const key = PEM_read_bio_PrivateKey(reading(pem).get(), nullptr, no_passphrase, &encrypted);
  ERR_clear_error();
  if (key == nullptr) {
    const char* why = encrypted
                          ? "the key is encrypted, and no passphrase is asked for: give one without (openssl pkey "
                            "-in FILE -out NEW)"
                          : "holds no private key in PEM (openssl genpkey -algorithm ed25519)";
    throw request_error("sign.key", fmt::format("{}: {}", file, why));
  }
  SigningKey out(owned(key));
  require_ed25519(key, file);
  return out;
}

std::string SigningKey::sign(std::string_view text) const {
  const Context context = new_context();
  std::string out(kSignatureBytes, '\0');
  std::size_t size = out.size();
  if (EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, raw(key_)) != 1 ||
      EVP_DigestSign(context.get(), reinterpret_cast<unsigned char*>(out.data()), &size, bytes_of(text), text.size()) !=
          1)
    throw failed("sign");
  return out;
}

std::string SigningKey::public_pem() const {
  const Bio out(BIO_new(BIO_s_mem()), &BIO_free);
  if (PEM_write_bio_PUBKEY(out.get(), raw(key_)) != 1) throw failed("write a public key");
  char* text = nullptr;
  const long size = BIO_get_mem_data(out.get(), &text);
  return {text, static_cast<std::size_t>(size)};
}

PublicKey PublicKey::from_pem(const std::string& pem, const std::string& where) {
  EVP_PKEY* const key = PEM_read_bio_PUBKEY(reading(pem).get(), nullptr, nullptr, nullptr);
  ERR_clear_error();
  if (key == nullptr)
    throw request_error("sign.key",
                        fmt::format("{}: holds no public key in PEM (openssl pkey -in KEY -pubout)", where));
  PublicKey out(owned(key));
  require_ed25519(key, where);
  return out;
}

PublicKey PublicKey::read(const std::string& file) { return from_pem(read_text_file(file, kLargestKeyFile), file); }

bool PublicKey::verifies(std::string_view text, std::string_view signature) const {
  const Context context = new_context();
  if (EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, raw(key_)) != 1) throw failed("check signatures");
  const bool good =
      signature.size() == kSignatureBytes &&
      EVP_DigestVerify(context.get(), bytes_of(signature), signature.size(), bytes_of(text), text.size()) == 1;
  ERR_clear_error();
  return good;
}

std::string PublicKey::fingerprint() const {
  unsigned char* der = nullptr;
  const int size = i2d_PUBKEY(raw(key_), &der);
  if (size <= 0) throw failed("encode a public key");
  const std::unique_ptr<unsigned char, void (*)(unsigned char*)> own(der, [](unsigned char* p) { OPENSSL_free(p); });
  return sha256({der, static_cast<std::size_t>(size)});
}

}  // namespace mlbench
