// The example with one thing wrong, which the variable MLBENCH_TEST_FAULT of the environment names: "abort forward" is
// what goes wrong and where. Nothing: the example as it is.
#include <signal.h>  // NOLINT(modernize-deprecated-headers): kill() is POSIX's
#include <unistd.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>

#include <mlbench/plugin.h>

extern "C" const mlbench_plugin* example_entry();
#undef mlbench_plugin_entry

namespace {

const mlbench_plugin& example() { return *example_entry(); }

std::string fault() {
  const char* text = std::getenv("MLBENCH_TEST_FAULT");
  return text == nullptr ? "" : text;
}

bool at(const char* place) { return fault().ends_with(std::string(" ") + place); }
bool is(const char* what) { return fault().starts_with(std::string(what) + " "); }

// Ends or stops the process, or prints.
void happen(const char* place) {
  if (!at(place)) return;
  if (is("abort")) std::abort();
  if (is("segv")) (void)::kill(::getpid(), SIGSEGV);
  if (is("exit")) std::exit(0);
  if (is("hang")) {
    while (true) ::pause();
  }
  if (is("close")) {
    ::close(3);
    while (true) ::pause();
  }
  if (is("print")) {
    std::puts(R"({"not": "our JSON"})");
    std::fputs("to standard error\n", stderr);
    (void)std::fflush(stdout);
  }
  if (is("scribble")) {
    const char junk[] = "this is no message, and it is long enough to be taken for the head of one";
    (void)!::write(3, junk, sizeof junk);
  }
}

std::int32_t junk(mlbench_error* error) {
  std::memset(error->code, 'x', sizeof error->code);  // no zero byte anywhere
  std::memset(error->message, '\x1b', sizeof error->message);
  return MLBENCH_REQUEST;
}

std::int32_t supports(const mlbench_config* config, const mlbench_run* run, mlbench_support* support,
                      mlbench_error* error) {
  happen("supports");
  if (at("supports") && is("junk")) {
    support->ok = 0;
    std::memcpy(support->reason, "red \x1b[31m\nlines \xff end", 22);
    return MLBENCH_OK;
  }
  if (at("supports") && is("two")) support->ok = 2;
  if (at("supports") && is("two")) return MLBENCH_OK;
  return example().supports(config, run, support, error);
}

std::int32_t devices(mlbench_device* found, std::uint64_t capacity, std::uint64_t* count, mlbench_error* error) {
  happen("devices");
  if (at("devices") && is("none")) {
    *count = 0;
    return MLBENCH_OK;
  }
  if (at("devices") && is("many")) {
    *count = UINT64_MAX;
    return MLBENCH_OK;
  }
  return example().devices(found, capacity, count, error);
}

std::int32_t why_none(char* text, std::uint64_t capacity, mlbench_error*) {
  std::snprintf(text, capacity, "no device file /dev/npu0");
  return MLBENCH_OK;
}

std::int32_t memory(const mlbench_config* config, const mlbench_run* run, const mlbench_kv_limits* limits,
                    mlbench_memory* out, mlbench_error* error) {
  if (at("memory") && is("huge")) {
    out->weights_bytes = out->cache_bytes = out->scratch_bytes = UINT64_MAX;
    return MLBENCH_OK;
  }
  return example().memory(config, run, limits, out, error);
}

std::int32_t load(const mlbench_model* model, const mlbench_run* run, mlbench_session** session, mlbench_error* error) {
  happen("load");
  if (run->dtype == MLBENCH_BF16) happen("bf16");
  if (at("load") && is("write"))  // to what it may only read
    const_cast<char*>(static_cast<const char*>(model->weights[0].tensor.data))[0] = 1;
  if (at("load") && is("nothing")) return MLBENCH_OK;
  return example().load(model, run, session, error);
}

std::int32_t arithmetic(mlbench_session* session, mlbench_arithmetic* out, mlbench_error* error) {
  const std::int32_t status = example().arithmetic(session, out, error);
  if (at("arithmetic") && is("junk")) out->accumulation = 77;
  if (at("arithmetic") && is("blocks")) out->product_fused = 0;
  return status;
}

std::int32_t embed(mlbench_session* session, const std::int32_t* ids, std::int64_t count, const mlbench_tensor* out,
                   mlbench_error* error) {
  happen("embed");
  auto* bytes = static_cast<char*>(out->data);
  if (at("embed") && is("unwritten")) return MLBENCH_OK;
  const std::int32_t status = example().embed(session, ids, count, out, error);
  if (at("embed") && is("before")) bytes[-1] = 0;
  if (at("embed") && is("behind")) bytes[out->shape[0] * out->shape[1] * 4] = 0;
  if (at("embed") && is("status")) return 77;
  if (at("embed") && is("junk")) return junk(error);
  if (at("embed") && is("throw")) throw std::runtime_error("out of the library");
  return status;
}

std::int32_t forward(mlbench_session* session, std::int32_t method, const mlbench_const_tensor* x,
                     const std::int32_t* positions, std::int64_t count, mlbench_cache* cache, const mlbench_tensor* out,
                     const mlbench_tap_sink* taps, mlbench_error* error) {
  happen("forward");
  if (at("forward") && is("idle")) return MLBENCH_OK;
  const std::int32_t status = example().forward(session, method, x, positions, count, cache, out, taps, error);
  if (at("forward") && is("write")) *static_cast<char*>(const_cast<void*>(x->data)) ^= 1;
  if (!at("taps") || taps == nullptr) return status;
  happen("taps");
  float value = 0.0F;
  mlbench_const_tensor tensor{MLBENCH_F32, 2, {1, 1}, &value};
  std::int32_t tap = MLBENCH_TAP_EMBED;
  if (is("type")) tensor.dtype = 99;
  if (is("rank")) tensor.rank = 99;
  if (is("negative")) tensor.shape[0] = -1;
  if (is("overflow")) tensor.shape[0] = tensor.shape[1] = INT64_MAX;
  if (is("nothing")) tensor.data = nullptr;
  if (is("unknown")) tap = 99;
  taps->take(taps->context, tap, is("layer") ? 3 : -1, &tensor);
  return status;
}

std::int32_t get_query_positions(mlbench_cache* cache, std::int32_t* out, std::int64_t capacity, std::int64_t* count,
                                 mlbench_error* error) {
  const std::int32_t status = example().get_query_positions(cache, out, capacity, count, error);
  if (at("positions")) *count = 1 << 20;
  return status;
}

// What it is asked for comes back: a billion bytes for each thread and a thousand more for each second.
std::int32_t measure_rates(const mlbench_run* run, double seconds, mlbench_rates* rates, mlbench_error* error) {
  happen("rates");
  if (at("rates") && is("slow")) ::usleep(600000);
  if (at("rates") && is("refuse")) return junk(error);
  if (at("rates") && is("zero")) return MLBENCH_OK;
  rates->read_bytes_per_second = 1e9 * run->threads + 1e3 * seconds;
  rates->flops_per_second = run->dtype == MLBENCH_BF16 ? 2e12 : 1e12;
  if (at("rates") && is("negative")) rates->read_bytes_per_second = -1.0;
  if (at("rates") && is("nan")) rates->flops_per_second = std::nan("");
  return MLBENCH_OK;
}

void destroy_session(mlbench_session* session) {
  happen("destroy");
  example().destroy_session(session);
}

mlbench_plugin spoilt() {
  mlbench_plugin table = example();
  if (at("name")) table.name = "evil\n\x1b[2J\xff";
  table.supports = supports;
  table.devices = devices;
  table.why_none = why_none;
  table.memory = memory;
  table.load = load;
  table.arithmetic = arithmetic;
  table.embed = embed;
  table.forward = forward;
  table.get_query_positions = get_query_positions;
  table.destroy_session = destroy_session;
  table.measure_rates = measure_rates;
  if (at("rates") && is("null")) table.measure_rates = nullptr;
  // As of a library that was built before there were rates; what stands behind its end is not the table's.
  if (at("table") && is("old")) table.struct_size = offsetof(mlbench_plugin, measure_rates);
  return table;
}

}  // namespace

extern "C" MLBENCH_PLUGIN_EXPORT const mlbench_plugin* mlbench_plugin_entry() {
  static mlbench_plugin table;
  table = spoilt();  // the fault of now, where a process loads it again
  return &table;
}
