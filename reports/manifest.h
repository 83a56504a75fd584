// What says whether a folder of results is as it was when it was made: the SHA-256 of every file in it, and a signature
// over that.
//
//   manifest.sha256   lines as sha256sum writes them, below comments that say by what and when it was made
//   manifest.sig      Ed25519 (RFC 8032) over the bytes of manifest.sha256: 64 bytes; only where a key was given
//   signer.pem        the public half of that key, which is listed in the manifest
//
// What is read is taken for hostile: names that lead out of the folder, links and files that are none are refused.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/signature.h"

namespace mlbench::reports {

inline constexpr const char* kManifest = "manifest.sha256";
inline constexpr const char* kSignature = "manifest.sig";
inline constexpr const char* kSigner = "signer.pem";

// Removes what write_manifest writes: of a folder that is being worked in nothing is promised.
void remove_manifest(const std::string& folder);

// Of every file below the folder. `comments` are one line each. Throws qualify.manifest (a request error) for a link,
// or a name that has no place in a manifest (control characters, a backslash).
void write_manifest(const std::string& folder, const std::vector<std::string>& comments, const SigningKey* key);

struct ManifestCheck {
  std::size_t files = 0;  // that the manifest lists
  std::vector<std::string> comments;
  std::vector<std::string> changed, missing, added;  // names in the folder
  bool is_signed = false;
  bool signature_holds = false;
  std::string signer;         // the fingerprint of the key that it was checked with
  bool by_given_key = false;  // not by the one that lies in the folder

  [[nodiscard]] bool intact() const {
    return changed.empty() && missing.empty() && added.empty() && (!is_signed || signature_holds);
  }
};

// `key`: who must have signed it; without it the key in the folder is taken, which shows that the folder is whole and
// not who made it. With it, a folder without a signature is not intact. Throws qualify.manifest where there is no such
// folder, or its manifest is malformed, and sign.key.
[[nodiscard]] ManifestCheck check_manifest(const std::string& folder, const PublicKey* key);

// Each thing that is wrong on a line of its own, then the answer.
[[nodiscard]] std::string to_text(const ManifestCheck& check, const std::string& folder);

}  // namespace mlbench::reports
