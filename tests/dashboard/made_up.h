// A made-up history: what a team's nightly runs might leave behind over years, with regressions and failures planted in
// it. Nothing of it was measured; every run carries the label "made up".
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "reports/store/store.h"

namespace mlbench::test {

struct MadeUpOptions {
  std::size_t runs = 300;
  std::uint64_t seed = 1;
  // The newest so many have all taps; older ones a check of each mode, which keeps their documents small.
  std::size_t with_taps = 300;
};

struct MadeUpRun {
  reports::RunHead head;
  Environment environment;
  std::string document;  // as mlbench verify --json or mlbench bench --json writes it
};

// The i-th of `options.runs`. Each commit has six runs: a verification and a benchmark on each of three backends.
// Planted, as a share of the history (llama, cuda, bf16 for example is one model on one backend in one type):
//   0.40 on   olmo, cpu, f32: prefill 12% faster
//   0.60 on   llama, cuda, bf16: decode 8% slower
//   0.70 to 0.78  gptbigcode, cuda, f16: attention is not finite, fails; the repair is kept
//   0.80 on   phi, rocm: decode 15% slower
//   0.88 on   orion, rocm, bf16: attn.q of layer 2 strays, fails
//   last commit   phi, cuda, bf16: outputs of the decode benchmark are wrong
//   always    llama, cpu, bf16: the error grows towards its limit
// One commit in ten is on a branch of its own name, "fused-rope".
[[nodiscard]] MadeUpRun made_up_run(const MadeUpOptions& options, std::size_t i);

}  // namespace mlbench::test
