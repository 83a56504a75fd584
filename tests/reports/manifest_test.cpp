// A folder's manifest and its signature: what was changed is named, and what is hostile is refused.
#include "reports/manifest.h"

#include <cstdlib>
#include <filesystem>

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "tests/support/command.h"
#include "tests/support/expect_error.h"
#include "tests/support/temp_dir.h"

namespace mlbench::reports {
namespace {

namespace fs = std::filesystem;
using mlbench::test::code_of;
using mlbench::test::read_file;
using mlbench::test::TempDir;
using mlbench::test::write_file;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// RFC 8032, section 7.1, test 1: the secret key as OpenSSL's PEM wraps it (RFC 8410).
constexpr const char* kPem =
    "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n"
    "-----END PRIVATE KEY-----\n";

class Manifest : public ::testing::Test {
 protected:
  Manifest() {
    write_file(keys_ / "key.pem", fresh_key("ed25519"));
    fs::create_directories(folder() / "logs");
    write_file((folder() / "report.json").string(), "{}\n");
    write_file((folder() / "logs/a b.log").string(), "line\n");
  }
  // openssl's own answer.
  std::string fresh_key(const std::string& kind) {
    const std::string file = keys_ / ("new-" + kind);
    const std::string command = fmt::format("openssl genpkey -algorithm {} -out '{}' 2>/dev/null", kind, file);
    EXPECT_EQ(std::system(command.c_str()), 0);  // NOLINT(cert-env33-c)
    return read_file(file);
  }
  [[nodiscard]] fs::path folder() const { return dir_.path() / "q"; }
  [[nodiscard]] std::string in(const std::string& name) const { return (folder() / name).string(); }
  void write(bool with_key = true) {
    const SigningKey key = SigningKey::read(keys_ / "key.pem");
    write_manifest(folder().string(), {"mlbench 0.1.0", "now"}, with_key ? &key : nullptr);
  }
  [[nodiscard]] ManifestCheck check(const PublicKey* key = nullptr) const {
    return check_manifest(folder().string(), key);
  }
  [[nodiscard]] PublicKey own_key() const {
    return PublicKey::from_pem(SigningKey::read(keys_ / "key.pem").public_pem(), "own");
  }

  TempDir dir_, keys_;
};

TEST_F(Manifest, OfAnUnchangedFolderHolds) {
  write();
  const ManifestCheck c = check();
  EXPECT_TRUE(c.intact());
  EXPECT_TRUE(c.is_signed);
  EXPECT_FALSE(c.by_given_key);
  EXPECT_EQ(c.files, 3U);  // with the public key
  EXPECT_THAT(c.comments, ElementsAre("mlbench 0.1.0", "now"));
  const PublicKey key = own_key();
  EXPECT_TRUE(check(&key).intact());
  EXPECT_EQ(check(&key).signer, key.fingerprint());
}

TEST_F(Manifest, WithoutAKeyIsNotSigned) {
  write(false);
  EXPECT_TRUE(check().intact());
  EXPECT_FALSE(check().is_signed);
  EXPECT_THAT(to_text(check(), "q"), HasSubstr("not signed"));
  const PublicKey key = own_key();
  EXPECT_FALSE(check(&key).intact());  // whoever asks for a signature is not content without
}

TEST_F(Manifest, NamesEveryFileThatIsNotAsItWas) {
  write();
  write_file(in("logs/a b.log"), "lime\n");  // one letter
  fs::remove(in("report.json"));
  write_file(in("more.txt"), "");
  const ManifestCheck c = check();
  EXPECT_FALSE(c.intact());
  EXPECT_THAT(c.changed, ElementsAre("logs/a b.log"));
  EXPECT_THAT(c.missing, ElementsAre("report.json"));
  EXPECT_THAT(c.added, ElementsAre("more.txt"));
  EXPECT_THAT(to_text(c, "q"), HasSubstr("changed  logs/a b.log\nmissing  report.json\nadded    more.txt\n"));
}

// The manifest made anew by someone who has no key of ours, or one of their own.
TEST_F(Manifest, ThatWasWrittenAnewDoesNotHoldByOurKey) {
  write();
  const PublicKey ours = own_key();
  write_file(in("report.json"), "{\"verdict\": \"passed\"}\n");
  std::string text = read_file(in(kManifest));
  const std::string before = sha256_of_text("{}\n"), after = sha256_of_file(in("report.json"));
  write_file(in(kManifest), text.replace(text.find(before), before.size(), after));
  EXPECT_THAT(check().changed, IsEmpty());
  EXPECT_FALSE(check().intact());
  EXPECT_THAT(to_text(check(), "q"), HasSubstr("the signature is not that of"));

  write_file(keys_ / "key.pem", fresh_key("ed25519"));
  write();
  EXPECT_TRUE(check().intact());  // by the key that lies in the folder
  EXPECT_FALSE(check(&ours).intact());
}

TEST_F(Manifest, WithoutItsSignatureOrItsKeyDoesNotHold) {
  write();
  fs::remove(in(kSignature));
  EXPECT_FALSE(check().intact());
  write();
  fs::remove(in(kSigner));
  EXPECT_THAT(check().missing, ElementsAre(kSigner));
  write();
  write_file(in(kSignature), read_file(in(kSignature)).substr(1));
  EXPECT_FALSE(check().intact());
}

// What others check by hand.
TEST_F(Manifest, IsWhatSha256sumAndOpensslRead) {
  write();
  const std::string by_hand = fmt::format(
      "cd '{}' && sha256sum --check --quiet --strict manifest.sha256 && openssl pkeyutl -verify -pubin -inkey "
      "signer.pem "
      "-rawin -in manifest.sha256 -sigfile manifest.sig >/dev/null",
      folder().string());
  EXPECT_EQ(std::system(by_hand.c_str()), 0);  // NOLINT(cert-env33-c)
}

// ---- what is refused ----

TEST_F(Manifest, ThatIsMalformedIsRefused) {
  write(false);
  const std::string digest(64, 'a'), good = read_file(in(kManifest));
  for (const std::string& line :
       {digest + "  ../outside", digest + "  /etc/passwd", digest + "  logs/../report.json", digest + "  ./report.json",
        digest + "  logs//a", digest + "  a\\b", digest + "  manifest.sha256", digest + "  ", digest + " report.json",
        std::string("short  report.json"), std::string(64, 'A') + "  report.json", std::string("text"),
        std::string("\xff\xfe"), digest + "  a\tb"}) {
    write_file(in(kManifest), good + line + "\n");
    EXPECT_EQ(code_of([&] { (void)check(); }), "qualify.manifest") << line;
  }
  write_file(in(kManifest), good + good);
  EXPECT_EQ(code_of([&] { (void)check(); }), "qualify.manifest");  // twice
  write_file(in(kManifest), good.substr(0, good.size() - 1));
  EXPECT_EQ(code_of([&] { (void)check(); }), "qualify.manifest");  // cut
  write_file(in(kManifest), "");
  EXPECT_EQ(code_of([&] { (void)check(); }), "qualify.manifest");
  write_file(in(kManifest), "# nothing\n");
  EXPECT_EQ(code_of([&] { (void)check(); }), "qualify.manifest");
}

TEST_F(Manifest, OfAFolderWithLinksIsRefused) {
  write(false);
  fs::create_symlink("/etc/passwd", in("link"));
  EXPECT_EQ(code_of([&] { (void)check(); }), "qualify.manifest");
  EXPECT_EQ(code_of([&] { write(false); }), "qualify.manifest");
  fs::remove(in("link"));
  fs::remove(in("report.json"));
  fs::create_symlink("/etc/passwd", in("report.json"));
  EXPECT_EQ(code_of([&] { (void)check(); }), "qualify.manifest");
  fs::remove(in("report.json"));
  fs::create_directory_symlink("/etc", in("report.json"));
  EXPECT_EQ(code_of([&] { (void)check(); }), "qualify.manifest");
}

TEST_F(Manifest, ThatIsALinkIsRefused) {
  write(false);
  fs::rename(in(kManifest), keys_ / "elsewhere");
  fs::create_symlink(keys_ / "elsewhere", in(kManifest));
  EXPECT_EQ(code_of([&] { (void)check(); }), "qualify.manifest");
}

TEST_F(Manifest, IsAskedForWhereThereIsOne) {
  EXPECT_EQ(code_of([&] { (void)check(); }), "qualify.manifest");
  EXPECT_EQ(code_of([&] { (void)check_manifest("/no/such/folder", nullptr); }), "qualify.manifest");
  EXPECT_EQ(code_of([&] { (void)check_manifest(in("report.json"), nullptr); }), "qualify.manifest");
}

TEST_F(Manifest, HasNoPlaceForOddNames) {
  write_file(in("two\nlines"), "");
  EXPECT_EQ(code_of([&] { write(false); }), "qualify.manifest");
}

// ---- keys ----

std::string bytes_of(const std::string& hex) {
  std::string out;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2)
    out += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  return out;
}

TEST_F(Manifest, IsSignedAsRfc8032Says) {
  write_file(keys_ / "rfc.pem", kPem);
  const SigningKey key = SigningKey::read(keys_ / "rfc.pem");
  const std::string signature = bytes_of(
      "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24"
      "65"
      "5141438e7a100b");
  EXPECT_EQ(key.sign(""), signature);
  const PublicKey own = PublicKey::from_pem(key.public_pem(), "rfc");
  EXPECT_TRUE(own.verifies("", signature));
  EXPECT_FALSE(own.verifies("x", signature));
  EXPECT_FALSE(own.verifies("", signature.substr(1)));
  EXPECT_FALSE(own.verifies("", ""));
}

TEST_F(Manifest, TakesDigestsAsFips180Says) {
  EXPECT_EQ(sha256_of_text("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha256_of_text(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  write_file(keys_ / "abc", "abc");
  EXPECT_EQ(sha256_of_file(keys_ / "abc"), sha256_of_text("abc"));
}

TEST_F(Manifest, RefusesKeysThatCannotSign) {
  const auto code = [&](const std::string& text) {
    write_file(keys_ / "bad.pem", text);
    return code_of([&] { (void)SigningKey::read(keys_ / "bad.pem"); });
  };
  EXPECT_EQ(code(""), "sign.key");
  EXPECT_EQ(code("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"), "sign.key");
  EXPECT_EQ(code(fresh_key("x25519")), "sign.key");
  EXPECT_EQ(code(SigningKey::read(keys_ / "key.pem").public_pem()), "sign.key");
  EXPECT_EQ(code_of([&] { (void)SigningKey::read(keys_ / "none.pem"); }), "file.missing");
  const std::string encrypt =
      fmt::format("openssl pkey -in '{0}' -aes256 -passout pass:x -out '{0}.enc'", keys_ / "key.pem");
  ASSERT_EQ(std::system(encrypt.c_str()), 0);  // NOLINT(cert-env33-c)
  const Error error = mlbench::test::error_of([&] { (void)SigningKey::read(keys_ / "key.pem.enc"); });
  EXPECT_EQ(error.code(), "sign.key");
  EXPECT_THAT(error.message(), HasSubstr("encrypted"));
  EXPECT_EQ(code_of([&] { (void)PublicKey::read(keys_ / "key.pem"); }), "sign.key");
}

}  // namespace
}  // namespace mlbench::reports
