#include "reports/manifest.h"

#include <algorithm>
#include <filesystem>
#include <map>

#include <fmt/format.h>

#include "core/error.h"
#include "core/file_map.h"
#include "reports/figures.h"

namespace mlbench::reports {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kLargestManifest = std::size_t{64} << 20U;
constexpr std::size_t kLargestSignature = 4096;
constexpr std::size_t kDigits = 64;  // of SHA-256
constexpr std::string_view kGap = "  ";

Error bad(const std::string& what) { return request_error("qualify.manifest", what); }

std::string path_in(const std::string& folder, const std::string& name) { return (fs::path(folder) / name).string(); }

// A name as it may stand in a manifest: below the folder, by one way only.
bool is_plain_name(std::string_view name) {
  if (name.empty() || name.front() == '/') return false;
  const bool odd =
      std::ranges::any_of(name, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == '\\' || c == 0x7f; });
  if (odd) return false;
  for (std::size_t at = 0; at <= name.size();) {
    const std::size_t end = std::min(name.find('/', at), name.size());
    const std::string_view part = name.substr(at, end - at);
    if (part.empty() || part == "." || part == "..") return false;
    at = end + 1;
  }
  return true;
}

// Neither says anything about itself.
bool is_of_the_manifest(const std::string& name) { return name == kManifest || name == kSignature; }

// Every file below the folder by its name there, in order; links and what is no file are refused.
std::vector<std::string> files_in(const std::string& folder) {
  std::vector<std::string> out;
  std::error_code failed;
  fs::recursive_directory_iterator at(folder, failed);
  if (failed) throw bad(fmt::format("{}: {}", folder, failed.message()));
  for (const fs::directory_entry& entry : at) {
    const std::string name = entry.path().lexically_relative(folder).string();
    const fs::file_status status = entry.symlink_status();
    if (fs::is_directory(status)) continue;
    if (!fs::is_regular_file(status))
      throw bad(fmt::format("{}: {} is {}: a folder of results holds plain files alone", folder, in_quotes(name),
                            fs::is_symlink(status) ? "a link" : "no file"));
    if (!is_of_the_manifest(name)) out.push_back(name);
  }
  std::ranges::sort(out);
  return out;
}

void require_folder(const std::string& folder) {
  std::error_code none;
  if (!fs::is_directory(folder, none)) throw bad(fmt::format("{}: there is no such folder", folder));
}

struct Manifest {
  std::vector<std::string> comments;
  std::map<std::string, std::string> digests;  // by name
};

Manifest parse(const std::string& text, const std::string& where) {
  Manifest out;
  std::size_t number = 0;
  for (std::size_t at = 0; at < text.size();) {
    ++number;
    const auto fail = [&](const char* what) { return bad(fmt::format("{}: line {}: {}", where, number, what)); };
    const std::size_t end = text.find('\n', at);
    if (end == std::string::npos) throw fail("ends before its end: it was cut");
    const std::string line = text.substr(at, end - at);
    at = end + 1;
    if (line.starts_with('#')) {
      out.comments.push_back(line.substr(std::min(line.size(), line.find_first_not_of("# "))));
      continue;
    }
    const bool hex = line.size() > kDigits + kGap.size() && line.compare(kDigits, kGap.size(), kGap) == 0 &&
                     std::all_of(line.begin(), line.begin() + kDigits,
                                 [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
    if (!hex) throw fail("must be 64 hexadecimal digits, two blanks and a name");
    const std::string name = line.substr(kDigits + kGap.size());
    if (!is_plain_name(name) || is_of_the_manifest(name)) throw fail("has a name that no file of the folder can have");
    if (!out.digests.emplace(name, line.substr(0, kDigits)).second) throw fail("names a file twice");
  }
  if (out.digests.empty()) throw bad(where + ": lists no file");
  return out;
}

void check_signature(const std::string& folder, const std::string& manifest, const PublicKey* given,
                     ManifestCheck& out) {
  const std::string signature = path_in(folder, kSignature), signer = path_in(folder, kSigner);
  out.is_signed = given != nullptr || fs::exists(signature) || fs::exists(signer);
  if (!out.is_signed) return;
  out.by_given_key = given != nullptr;
  if (given == nullptr && !fs::exists(signer)) return;  // it is among the missing ones, or was never there
  const PublicKey key = given != nullptr ? *given : PublicKey::read(signer);
  out.signer = key.fingerprint();
  out.signature_holds = fs::exists(signature) && key.verifies(manifest, read_text_file(signature, kLargestSignature));
}

}  // namespace

void remove_manifest(const std::string& folder) {
  for (const char* name : {kManifest, kSignature, kSigner}) fs::remove(path_in(folder, name));
}

void write_manifest(const std::string& folder, const std::vector<std::string>& comments, const SigningKey* key) {
  require_folder(folder);
  remove_manifest(folder);
  if (key != nullptr) write_file_whole(path_in(folder, kSigner), key->public_pem());
  std::string text;
  for (const std::string& comment : comments) text += fmt::format("# {}\n", one_line(comment));
  for (const std::string& name : files_in(folder)) {
    if (!is_plain_name(name))
      throw bad(fmt::format("{}: {}: a name with control characters or a backslash has no place in a manifest", folder,
                            in_quotes(name)));
    text += fmt::format("{}{}{}\n", sha256_of_file(path_in(folder, name)), kGap, name);
  }
  write_file_whole(path_in(folder, kManifest), text);
  if (key != nullptr) write_file_whole(path_in(folder, kSignature), key->sign(text));
}

ManifestCheck check_manifest(const std::string& folder, const PublicKey* key) {
  require_folder(folder);
  const std::string path = path_in(folder, kManifest);
  if (!fs::exists(fs::symlink_status(path)))
    throw bad(fmt::format("{}: has no {}: no qualification came to its end here", folder, kManifest));
  const std::vector<std::string> there = files_in(folder);  // no links from here on
  const std::string text = read_text_file(path, kLargestManifest);
  const Manifest manifest = parse(text, path);
  ManifestCheck out;
  out.files = manifest.digests.size();
  out.comments = manifest.comments;
  for (const auto& [name, digest] : manifest.digests) {
    if (!std::ranges::binary_search(there, name)) {
      out.missing.push_back(name);
    } else if (sha256_of_file(path_in(folder, name)) != digest) {
      out.changed.push_back(name);
    }
  }
  for (const std::string& name : there) {
    if (!manifest.digests.contains(name)) out.added.push_back(name);
  }
  check_signature(folder, text, key, out);
  return out;
}

std::string to_text(const ManifestCheck& check, const std::string& folder) {
  std::string out;
  const auto tell = [&](const char* what, const std::vector<std::string>& names) {
    for (const std::string& name : names) out += fmt::format("{:<8} {}\n", what, one_line(name));
  };
  tell("changed", check.changed);
  tell("missing", check.missing);
  tell("added", check.added);
  for (const std::string& comment : check.comments) out += fmt::format("{}\n", one_line(comment));
  if (!check.is_signed) {
    out += "not signed: this shows what was changed by accident, not by someone who wrote the manifest anew\n";
  } else if (!check.signature_holds) {
    out += fmt::format("the signature is not that of {} over this manifest\n",
                       check.signer.empty() ? "any key that is here" : "key " + check.signer);
  } else if (check.by_given_key) {
    out += fmt::format("signed by the key given, SHA-256 {}\n", check.signer);
  } else {
    out += fmt::format(
        "signed by the key that lies in the folder, SHA-256 {}: who that is, only --key of whom you trust "
        "can tell\n",
        check.signer);
  }
  const std::size_t wrong = check.changed.size() + check.missing.size() + check.added.size();
  return out + fmt::format("{}: {}, {}\n", one_line(folder), counted(static_cast<long long>(check.files), "file"),
                           check.intact() ? "as they were when the manifest was made"
                           : wrong > 0    ? fmt::format("of these and others {} not as they were", wrong)
                                          : "and a signature that does not hold");
}

}  // namespace mlbench::reports
