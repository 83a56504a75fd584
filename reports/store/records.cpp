#include "reports/store/records.h"

#include <fmt/format.h>

#include "reports/store/packing.h"

namespace mlbench::reports {
namespace {

std::string marks(int count) {
  std::string out = "?";
  for (int i = 1; i < count; ++i) out += ", ?";
  return out;
}

Statement insertion(const Connection& db, const char* table, int columns) {
  return Statement(db, fmt::format("INSERT INTO {} VALUES ({})", table, marks(columns)));
}

std::int64_t size_of(const auto& list) { return static_cast<std::int64_t>(list.size()); }
std::int64_t integer_of(bool value) { return value ? 1 : 0; }
std::optional<double> part_of(const std::optional<Estimate>& estimate, double Estimate::*part) {
  return estimate ? std::optional(*estimate.*part) : std::nullopt;
}

void insert_head(const Connection& db, const RunHead& head, const RunContents& contents) {
  insertion(db, "run", 17)
      .bind(head.id)
      .bind(std::string(name(head.kind)))
      .bind(head.started)
      .bind(head.revision)
      .bind(head.branch)
      .bind(head.label)
      .bind(head.host)
      .bind(head.processor)
      .bind(head.program)
      .bind(head.command)
      .bind(head.verdict)
      .bind(size_of(contents.verifications))
      .bind(size_of(contents.taps))
      .bind(size_of(contents.rows))
      .bind(size_of(contents.probes))
      .bind(size_of(contents.facts))
      .bind_seal()
      .finish();
}

void insert_verifications(const Connection& db, RunId run, const std::vector<StoredVerification>& parts) {
  Statement into = insertion(db, "verification", 19);
  std::int64_t part = 0;
  for (const StoredVerification& v : parts) {
    into.bind(run).bind(part++).bind(v.model).bind(v.architecture).bind(v.backend).bind(v.backend_version);
    into.bind(v.device).bind(v.dtype).bind(v.tensor_parallel).bind(v.pipeline_parallel);
    into.bind(integer_of(v.disaggregated)).bind(v.replicas).bind(v.verdict).bind(v.checks).bind(v.failed);
    into.bind(v.isolated).bind(v.chained).bind(v.exact).bind_seal().finish();
  }
}

void insert_taps(const Connection& db, RunId run, const std::vector<StoredTap>& taps) {
  Statement into = insertion(db, "tap", 11);
  std::int64_t place = 0;
  for (const StoredTap& t : taps) {
    into.bind(run).bind(place++).bind(t.part).bind(t.kind).bind(t.layer).bind(t.mode);
    into.bind(t.ratio).bind(t.error).bind(t.limit).bind(t.failed).bind_seal().finish();
  }
}

void insert_rows(const Connection& db, RunId run, const std::vector<StoredRow>& rows) {
  Statement into = insertion(db, "benchmark", 34);
  std::int64_t place = 0;
  for (const StoredRow& r : rows) {
    const BenchPoint& p = r.point;
    into.bind(run).bind(place++).bind(p.model).bind(p.architecture).bind(p.backend).bind(p.device).bind(p.dtype);
    into.bind(std::int64_t{p.threads}).bind(p.batch).bind(p.prompt).bind(p.gen).bind(p.depth).bind(p.page_size);
    into.bind(p.tensor_parallel).bind(p.pipeline_parallel).bind(integer_of(p.disaggregated)).bind(p.replicas);
    into.bind(r.method).bind(integer_of(r.decode));
    for (const auto* estimate : {&r.tokens_per_second, &r.median}) {
      for (const auto part : {&Estimate::value, &Estimate::low, &Estimate::high}) into.bind(part_of(*estimate, part));
    }
    into.bind(r.samples).bind(r.check).bind(r.mfu).bind(r.mbu).bind(r.joules_per_token);
    into.bind(r.flops_per_token).bind(r.bytes_per_token).bind(static_cast<std::int64_t>(r.peak_memory_bytes));
    into.bind_seal().finish();
  }
}

std::optional<Estimate> read_estimate(Statement& s) {
  const auto value = s.real_or_null(), low = s.real_or_null(), high = s.real_or_null();
  if (!value || !low || !high) return std::nullopt;
  return Estimate{*value, *low, *high};
}

void insert_probes(const Connection& db, RunId run, const std::vector<ProbeResult>& probes) {
  Statement into = insertion(db, "probe", 9);
  std::int64_t place = 0;
  for (const ProbeResult& p : probes) {
    into.bind(run).bind(place++).bind(p.backend).bind(p.device).bind(p.dtype).bind(std::int64_t{p.threads});
    into.bind(p.read_bytes_per_second).bind(p.flops_per_second).bind_seal().finish();
  }
}

void insert_facts(const Connection& db, RunId run, const std::vector<std::pair<std::string, std::string>>& facts) {
  Statement into = insertion(db, "fact", 5);
  std::int64_t place = 0;
  for (const auto& [name, value] : facts) into.bind(run).bind(place++).bind(name).bind(value).bind_seal().finish();
}

}  // namespace

void Places::check(Statement& s, RunId run) {
  next_ = run == run_ ? next_ + 1 : 0;
  run_ = run;
  if (s.integer() != next_) throw unusable(db_->file(), kDamaged);
}

void insert_records(const Connection& db, const RunHead& head, const RunContents& contents) {
  insert_head(db, head, contents);
  insert_verifications(db, head.id, contents.verifications);
  insert_taps(db, head.id, contents.taps);
  insert_rows(db, head.id, contents.rows);
  insert_probes(db, head.id, contents.probes);
  insert_facts(db, head.id, contents.facts);
}

void insert_document(const Connection& db, RunId run, const std::string& digest, const std::string& document) {
  insertion(db, "document", 5)
      .bind(run)
      .bind_bytes(digest)
      .bind(size_of(document))
      .bind_seal()
      .bind_bytes(deflated(document))
      .finish();
}

RunHead read_head(Statement& s) {
  RunHead head;
  head.id = s.integer();
  head.kind = s.text() == name(StoredKind::benchmark) ? StoredKind::benchmark : StoredKind::verification;
  head.started = s.text();
  head.revision = s.text();
  head.branch = s.text();
  head.label = s.text();
  head.host = s.text();
  head.processor = s.text();
  head.program = s.text();
  head.command = s.text();
  head.verdict = s.text();
  for (int counts = 5; counts > 0; --counts) (void)s.integer();
  s.check_seal();
  return head;
}

StoredVerification read_verification(Statement& s, Places& places) {
  StoredVerification v;
  v.run = s.integer();
  places.check(s, v.run);
  v.model = s.text();
  v.architecture = s.text();
  v.backend = s.text();
  v.backend_version = s.text();
  v.device = s.text();
  v.dtype = s.text();
  v.tensor_parallel = s.integer();
  v.pipeline_parallel = s.integer();
  v.disaggregated = s.integer() != 0;
  v.replicas = s.integer();
  v.verdict = s.text();
  v.checks = s.integer();
  v.failed = s.integer();
  v.isolated = s.real_or_null();
  v.chained = s.real_or_null();
  v.exact = s.real_or_null();
  s.check_seal();
  return v;
}

StoredTap read_tap(Statement& s, Places& places) {
  StoredTap t;
  t.run = s.integer();
  places.check(s, t.run);
  t.part = s.integer();
  t.kind = s.text();
  t.layer = s.integer();
  t.mode = s.text();
  t.ratio = s.real();
  t.error = s.real();
  t.limit = s.real();
  t.failed = s.integer();
  s.check_seal();
  return t;
}

StoredRow read_row(Statement& s, Places& places) {
  StoredRow r;
  BenchPoint& p = r.point;
  r.run = s.integer();
  places.check(s, r.run);
  p.model = s.text();
  p.architecture = s.text();
  p.backend = s.text();
  p.device = s.text();
  p.dtype = s.text();
  p.threads = static_cast<int>(s.integer());
  for (Index* field : {&p.batch, &p.prompt, &p.gen, &p.depth, &p.page_size, &p.tensor_parallel, &p.pipeline_parallel})
    *field = s.integer();
  p.disaggregated = s.integer() != 0;
  p.replicas = s.integer();
  r.method = s.text();
  r.decode = s.integer() != 0;
  r.tokens_per_second = read_estimate(s);
  r.median = read_estimate(s);
  r.samples = s.integer();
  r.check = s.text();
  r.mfu = s.real_or_null();
  r.mbu = s.real_or_null();
  r.joules_per_token = s.real_or_null();
  r.flops_per_token = s.real();
  r.bytes_per_token = s.real();
  r.peak_memory_bytes = static_cast<std::uint64_t>(s.integer());
  s.check_seal();
  return r;
}

StoredProbe read_probe(Statement& s, Places& places) {
  StoredProbe out;
  out.run = s.integer();
  places.check(s, out.run);
  out.probe.backend = s.text();
  out.probe.device = s.text();
  out.probe.dtype = s.text();
  out.probe.threads = static_cast<int>(s.integer());
  out.probe.read_bytes_per_second = s.real();
  out.probe.flops_per_second = s.real();
  s.check_seal();
  return out;
}

StoredFact read_fact(Statement& s, Places& places) {
  StoredFact out;
  out.run = s.integer();
  places.check(s, out.run);
  out.name = s.text();
  out.value = s.text();
  s.check_seal();
  return out;
}

}  // namespace mlbench::reports
