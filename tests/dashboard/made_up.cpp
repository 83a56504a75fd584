#include "tests/dashboard/made_up.h"

#include <array>
#include <cmath>
#include <ctime>
#include <limits>

#include <fmt/chrono.h>
#include <fmt/format.h>

#include "core/hash.h"
#include "reports/backend_report.h"
#include "reports/bench_report.h"
#include "tests/dashboard/numbers.h"

namespace mlbench::test {
namespace {

constexpr std::array<const char*, 5> kArchitectures = {"gptbigcode", "llama", "olmo", "orion", "phi"};
constexpr std::array<const char*, 3> kMeasured = {"llama", "olmo", "phi"};
constexpr std::array<const char*, 12> kKinds = {"embed",    "attn_norm",  "attn.q",     "attn.k",
                                                "attn.v",   "attn.probs", "attn.out",   "ffn_norm",
                                                "ffn.gate", "ffn.down",   "final_norm", "logits"};
constexpr Index kLayers = 8;
constexpr std::size_t kRunsPerCommit = 6, kBranchEvery = 10;
constexpr std::time_t kFirst = 1735693200, kBetweenCommits = 28800, kBetweenRuns = 1200;  // from 2025-01-01 on

struct Machine {
  const char *backend, *version, *host, *processor;
  std::array<const char*, 2> dtypes;
  double flops, bytes;  // per second
};
constexpr std::array<Machine, 3> kMachines = {
    {{"cpu", "oneDNN 2.6.3", "made-up-1", "Made-Up CPU 9000", {"f32", "bf16"}, 1.5e12, 1.6e11},
     {"cuda", "CUDA 12.4", "made-up-2", "Made-Up CPU 9100", {"bf16", "f16"}, 3.2e14, 2.9e12},
     {"rocm", "HIP 5.7", "made-up-3", "Made-Up CPU 7100", {"bf16", "f16"}, 2.1e14, 2.4e12}}};

struct Place {
  std::size_t commit = 0, commits = 0;
  double share = 0.0;  // of the history that lies before it
  bool detailed = false;
  const Machine* machine = nullptr;
};

// ---- verifications

double typical_ratio(const std::string& kind, VerifyMode mode) {
  if (kind == "embed") return 0.0;
  const double level = 0.1 + 0.5 * static_cast<double>(fnv1a(kind) % 1000) / 1000.0;
  return mode == VerifyMode::isolated ? level : mode == VerifyMode::chained ? level / 3.0 : 0.0;
}

double planted_ratio(const Place& at, const BackendVerification& part, const TapCheck& check, double ratio) {
  const auto is = [&](const char* architecture, const char* backend, const char* dtype) {
    return part.architecture == architecture && part.backend == backend && part.dtype == dtype;
  };
  constexpr double kWrong = 41.0;
  if (is("orion", "rocm", "bf16") && at.share >= 0.88 && check.kind == "attn.q" && check.layer == 2) return kWrong;
  if (is("gptbigcode", "cuda", "f16") && at.share >= 0.70 && at.share < 0.78 && check.kind == "attn.probs" &&
      check.layer >= 5)
    return std::numeric_limits<double>::infinity();
  if (is("llama", "cpu", "bf16") && check.kind == "attn.probs") return ratio * (0.6 + 0.9 * at.share);
  return ratio;
}

TapCheck check_of(const Place& at, const BackendVerification& part, VerifyMode mode, const char* kind, Index layer,
                  Numbers& numbers) {
  TapCheck check;
  check.mode = mode;
  check.call = "single/0 prefill";
  check.method = "prefill";
  check.kind = kind;
  check.layer = layer;
  check.tap = layer < 0 ? check.kind : fmt::format("layers.{}.{}", layer, kind);
  check.elements = 4096;
  const double drawn = typical_ratio(kind, mode) * std::exp(0.12 * numbers.normal());
  check.ratio = planted_ratio(at, part, check, drawn);
  check.limit = 1e-3;
  check.error = check.ratio * check.limit;
  check.passed = check.ratio <= 1.0;
  if (!check.passed) {
    check.straying = 9;
    check.worst = Mismatch{0, 3, "head 1 [5]", 0.25, 0.75};
  }
  return check;
}

BackendVerification part_of(const Place& at, const char* architecture, const char* dtype, Numbers& numbers) {
  BackendVerification part;
  part.model = fmt::format("preset {}-small, synthetic {} weights, seed 1", architecture, dtype);
  part.architecture = architecture;
  part.backend = at.machine->backend;
  part.version = at.machine->version;
  part.dtype = dtype;
  part.seed = 1;
  for (const VerifyMode mode : kVerifyModes) {
    for (const char* kind : kKinds) {
      const std::string name = kind;
      const bool outside = name == "embed" || name == "final_norm" || name == "logits";
      for (Index layer = outside ? -1 : 0; layer < (outside ? 0 : kLayers); ++layer) {
        const TapCheck check = check_of(at, part, mode, kind, layer, numbers);
        // The worst of a mode stands in every document.
        if (at.detailed || !check.passed || (name == "attn.probs" && layer == 0)) part.checks.push_back(check);
      }
    }
  }
  return part;
}

std::string verification(const Place& at, Numbers& numbers) {
  std::vector<BackendVerification> parts;
  for (const char* dtype : at.machine->dtypes)
    for (const char* architecture : kArchitectures) parts.push_back(part_of(at, architecture, dtype, numbers));
  return reports::to_json(parts).dump();
}

// ---- benchmarks

double planted_speed(const Place& at, const BenchPoint& point, bool decode) {
  const auto is = [&](const char* architecture, const char* backend) {
    return point.architecture == architecture && point.backend == backend;
  };
  double speed = 1.0;
  if (is("olmo", "cpu") && point.dtype == "f32" && !decode && at.share >= 0.40) speed *= 1.12;
  if (is("llama", "cuda") && point.dtype == "bf16" && decode && at.share >= 0.60) speed *= 0.92;
  if (is("phi", "rocm") && decode && at.share >= 0.80) speed *= 0.85;
  return speed;
}

BenchRow row_of(const Place& at, const char* architecture, const char* dtype, bool decode, Numbers& numbers) {
  BenchRow row;
  BenchPoint& point = row.point;
  point.model = fmt::format("{}-small", architecture);
  point.architecture = architecture;
  point.backend = at.machine->backend;
  point.dtype = dtype;
  point.threads = std::string(at.machine->backend) == "cpu" ? 16 : 1;
  point.prompt = 512;
  point.gen = 64;
  point.page_size = 16;
  row.method = decode ? "decode" : "prefill";
  row.decode = decode;
  const double weights = std::string(architecture) == "phi"    ? 2.7e9
                         : std::string(architecture) == "olmo" ? 1.2e9
                                                               : 1.1e9;
  const double width = std::string(dtype) == "f32" ? 4.0 : 2.0;
  row.flops_per_token = 2.0 * weights;
  row.bytes_per_token = weights * width / (decode ? 1.0 : static_cast<double>(point.prompt));
  const double roof =
      std::min(at.machine->flops * 2.0 / width, at.machine->bytes * row.flops_per_token / row.bytes_per_token);
  const double share = decode ? 0.62 : 0.48;
  const double rate =
      share * roof / row.flops_per_token * planted_speed(at, point, decode) * std::exp(0.012 * numbers.normal());
  const auto tokens = static_cast<double>(decode ? point.gen : point.prompt);
  const double seconds = tokens / rate, half = 0.004 + 0.006 * numbers.uniform();
  row.samples.assign(8, seconds);
  row.started = {0, 1, 2, 3, 4, 5, 6, 7};
  if (decode) row.steps.assign(8, std::vector<double>(2, seconds / 2.0));
  row.median = Estimate{seconds, seconds * (1.0 - half), seconds * (1.0 + half)};
  row.tokens_per_second = Estimate{rate, rate / (1.0 + half), rate / (1.0 - half)};
  row.p50 = seconds;
  const bool wrong = at.commit + 1 == at.commits && decode && std::string(architecture) == "phi" &&
                     std::string(dtype) == "bf16" && std::string(at.machine->backend) == "cuda";
  row.check = wrong ? BenchCheck::failed : BenchCheck::passed;
  row.check_ratio = wrong ? 17.0 : 0.3;
  row.check_text = wrong ? "logits of position 3 stray: 17 times the limit" : "8 repetitions";
  row.mfu = rate * row.flops_per_token / (at.machine->flops * 2.0 / width);
  row.mbu = rate * row.bytes_per_token / at.machine->bytes;
  row.peak_memory_bytes = static_cast<std::uint64_t>(weights * width * 1.1);
  return row;
}

std::string benchmark(const Place& at, const reports::RunHead& head, const Environment& environment, Numbers& numbers) {
  BenchRun run;
  run.started = head.started;
  run.command = head.command;
  run.seed = 1;
  run.precision = 0.01;
  run.confidence = 0.95;
  run.max_time = 10.0;
  run.environment = environment;
  for (const char* dtype : at.machine->dtypes) {
    ProbeResult probe;
    probe.backend = at.machine->backend;
    probe.dtype = dtype;
    probe.threads = std::string(at.machine->backend) == "cpu" ? 16 : 1;
    probe.read_bytes_per_second = at.machine->bytes;
    probe.flops_per_second = at.machine->flops * (std::string(dtype) == "f32" ? 0.5 : 1.0);
    run.probes.push_back(probe);
    for (const char* architecture : kMeasured)
      for (const bool decode : {false, true}) run.rows.push_back(row_of(at, architecture, dtype, decode, numbers));
  }
  return reports::to_json(run).dump();
}

}  // namespace

MadeUpRun made_up_run(const MadeUpOptions& options, std::size_t i) {
  Numbers numbers(scattered(options.seed, i));
  Place at;
  at.commit = i / kRunsPerCommit;
  at.commits = (options.runs + kRunsPerCommit - 1) / kRunsPerCommit;
  at.share = static_cast<double>(at.commit) / static_cast<double>(at.commits);
  at.detailed = i + options.with_taps >= options.runs;
  const bool verifies = i % kRunsPerCommit < kMachines.size();
  at.machine = &kMachines[i % kMachines.size()];
  MadeUpRun out;
  reports::RunHead& head = out.head;
  head.started =
      fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(kFirst + static_cast<std::time_t>(at.commit) * kBetweenCommits +
                                                       static_cast<std::time_t>(i % kRunsPerCommit) * kBetweenRuns));
  head.revision = fmt::format("{:016x}{:016x}", scattered(options.seed, at.commit), scattered(7, at.commit));
  head.branch = at.commit % kBranchEvery == 4 ? "fused-rope" : "main";
  head.label = "made up";
  head.host = at.machine->host;
  head.processor = at.machine->processor;
  head.program = "mlbench 0.1.0 (made up)";
  head.command = fmt::format("mlbench {} --arch {} --backend {} --dtype {},{}", verifies ? "verify" : "bench",
                             verifies ? "gptbigcode,llama,olmo,orion,phi" : "llama,olmo,phi", at.machine->backend,
                             at.machine->dtypes[0], at.machine->dtypes[1]);
  out.environment.facts = {{"host", head.host},
                           {"cpu", head.processor},
                           {"cpus", "32"},
                           {"kernel", at.share < 0.5 ? "6.1.0-18-amd64" : "6.1.0-22-amd64"},
                           {"governor", "performance"},
                           {"load average", fmt::format("{:.2f}", numbers.uniform())},
                           {"mlbench commit", head.revision}};
  out.document = verifies ? verification(at, numbers) : benchmark(at, head, out.environment, numbers);
  return out;
}

}  // namespace mlbench::test
