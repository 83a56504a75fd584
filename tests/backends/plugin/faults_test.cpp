// A plug-in that dies, hangs or says what cannot be is an error of one session, and of nothing else.
#include <gmock/gmock.h>

#include <cmath>

#include "core/error.h"
#include "tests/backends/plugin/plugins.h"

namespace mlbench::plugin::test {
namespace {

using backends::Method;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

class AllTaps final : public backends::TapSink {
 public:
  [[nodiscard]] bool wants(TapId) const override { return true; }
  void take(TapId, const ConstTensorView&) override { ++taken; }
  int taken = 0;
};

const Model& model() {
  static const Model llama = small_model(Architecture::llama);
  return llama;
}

// One token through a fresh cache, with taps.
void run_once(backends::Session& session) {
  EXPECT_EQ(session.arithmetic().activations, DType::f32);
  const auto cache = session.create_paged_kv_cache(kLimits);
  HostTensor x(DType::f32, {1, model().config.hidden_size});
  session.embed(std::vector<std::int32_t>{7}, x.view());
  x = std::move(x).reshaped({1, 1, model().config.hidden_size});
  cache->add_sequence(0);
  cache->begin_forward(std::vector<SeqId>{0}, std::vector<Index>{1}, std::nullopt);
  (void)cache->get_query_positions();
  HostTensor out(DType::f32, {1, 1, model().config.vocab_size});
  AllTaps taps;
  session.forward(Method::decode, x.view(), {}, *cache, out.view(), &taps);
  cache->end_forward();
  EXPECT_GT(taps.taken, 0);
  EXPECT_TRUE(std::isfinite(out.widened().values()[0]));
}

struct Opened {
  std::unique_ptr<backends::Backend> backend = open_child(MLBENCH_PLUGIN_FAULTY, 10.0);
  [[nodiscard]] std::string run() const {
    return error_of([&] { run_once(*backend->load(model(), {})); });
  }
};

std::string error_in_child(const char* what) {
  const Fault fault(what);
  const Opened opened;
  return opened.run();
}

std::string error_here(const char* what) {
  const Fault fault(what);
  const auto backend = open_here(MLBENCH_PLUGIN_FAULTY);
  return error_of([&] { run_once(*backend->load(model(), {})); });
}

TEST(Faults, TheLibraryWithoutOneIsHonest) {
  EXPECT_EQ(error_in_child("none"), "");
  EXPECT_EQ(error_here("none"), "");
}

TEST(Faults, TheEndOfTheProcessIsToldByItsSignal) {
  const std::string path = MLBENCH_PLUGIN_FAULTY;
  EXPECT_EQ(error_in_child("abort forward"),
            "backend.crashed: " + path + ": decode: its process died of SIGABRT (Aborted)");
  EXPECT_EQ(error_in_child("segv embed"),
            "backend.crashed: " + path + ": embed: its process died of SIGSEGV (Segmentation fault)");
  EXPECT_EQ(error_in_child("exit load"), "backend.crashed: " + path + ": load: its process exited with code 0");
  EXPECT_THAT(error_in_child("abort taps"), HasSubstr("SIGABRT"));
  EXPECT_EQ(children(), 0);
}

TEST(Faults, WeightsCannotBeWrittenTo) {
  EXPECT_THAT(error_in_child("write load"), HasSubstr("load: its process died of SIGSEGV"));
}

TEST(Faults, AnAnswerThatDoesNotComeEndsTheProcess) {
  const Fault fault("hang forward");
  const auto backend = open_child(MLBENCH_PLUGIN_FAULTY, 0.3);
  const auto session = backend->load(model(), {});
  EXPECT_THAT(error_of([&] { run_once(*session); }),
              AllOf(StartsWith("backend.timeout: "),
                    HasSubstr("decode: no answer within 0.3 s (--time-limit): its process was ended")));
  EXPECT_EQ(children(), 0);
}

TEST(Faults, WithoutALimitAnAnswerIsWaitedFor) {
  const auto backend = open_child(MLBENCH_PLUGIN_FAULTY, 0.0);
  EXPECT_NO_THROW(run_once(*backend->load(model(), {})));
}

// Whoever holds the session or a cache of it gets the same answer again, and may let go of them.
TEST(Faults, ALostSessionStaysLost) {
  const Fault fault("abort forward");
  const Opened opened;
  const auto session = opened.backend->load(model(), {});
  const auto cache = session->create_paged_kv_cache(kLimits);
  const std::string first = error_of([&] { run_once(*session); });
  EXPECT_EQ(error_of([&] { cache->add_sequence(1); }), first);
  EXPECT_EQ(error_of([&] { (void)session->create_paged_kv_cache(kLimits); }), first);
  EXPECT_EQ(session->arithmetic().activations, DType::f32);
}

TEST(Faults, TheNextSessionHasAProcessOfItsOwn) {
  const Opened opened;
  const auto other = opened.backend->load(model(), {});
  {
    const Fault fault("abort forward");
    EXPECT_THAT(opened.run(), StartsWith("backend.crashed"));
  }
  EXPECT_EQ(opened.run(), "");
  EXPECT_EQ(error_of([&] { run_once(*other); }), "");  // loaded before, alive through it all
}

TEST(Faults, AQuestionThatKillsCanBeAskedAgain) {
  const Fault fault("segv supports");
  const Opened opened;
  for (int i = 0; i < 2; ++i) {
    EXPECT_THAT(error_of([&] { (void)opened.backend->supports(model().config, {}); }),
                HasSubstr("supports: its process died of SIGSEGV"));
  }
}

TEST(Faults, AProcessThatHangsUpIsEnded) {
  EXPECT_THAT(error_in_child("close forward"), HasSubstr("closed its side of the channel and was ended"));
  EXPECT_EQ(children(), 0);
}

TEST(Faults, JunkInTheChannelIsNoAnswer) {
  EXPECT_THAT(error_in_child("scribble forward"),
              AllOf(StartsWith("backend.failed: "), HasSubstr("its answer cannot be: what it sent is no message")));
}

TEST(Faults, AHangingEndIsCutShort) {
  const Fault fault("hang destroy");
  const auto backend = open_child(MLBENCH_PLUGIN_FAULTY, 0.3);
  backend->load(model(), {}).reset();
  EXPECT_EQ(children(), 0);
}

TEST(Faults, PrintingHarmsNothing) { EXPECT_EQ(error_in_child("print forward"), ""); }

// ---- answers that cannot be, in both ways ----

void expect_both(const char* fault, const testing::Matcher<std::string>& says) {
  EXPECT_THAT(error_in_child(fault), says) << fault;
  EXPECT_THAT(error_here(fault), says) << fault;
}

TEST(Faults, AnUnknownStatusIsAnError) {
  expect_both("status embed", std::string("backend.failed: embed: returned status 77, which there is not"));
}

TEST(Faults, TextOfALibraryStaysOneLine) {
  expect_both("junk embed", AllOf(StartsWith("backend.request: embed: \\x1b"), Not(HasSubstr("\x1b"))));
  const Fault fault("junk supports");
  for (const auto& backend : {open_child(MLBENCH_PLUGIN_FAULTY), open_here(MLBENCH_PLUGIN_FAULTY)})
    EXPECT_EQ(backend->supports(model().config, {}).reason, "red \\x1b[31m\\x0alines \\xff end");
  const Fault name("bad name");
  for (const auto& backend : {open_child(MLBENCH_PLUGIN_FAULTY), open_here(MLBENCH_PLUGIN_FAULTY)})
    EXPECT_EQ(backend->name(), "evil\\x0a\\x1b[2J\\xff");
}

TEST(Faults, ASessionThatIsNoneIsAnError) {
  expect_both("nothing load", std::string("backend.failed: load: made no session"));
}

TEST(Faults, AnAnswerThatIsNeitherYesNorNoIsAnError) {
  expect_both("two supports", std::string("backend.failed: supports: answered 2, neither 0 nor 1"));
}

TEST(Faults, AnUnknownTypeIsAnError) {
  expect_both("junk arithmetic", std::string("backend.failed: arithmetic: accumulation of type 77: there are 0..3"));
}

TEST(Faults, SumsInBlocksOfNothingAreAnError) {
  expect_both("blocks arithmetic",
              std::string("backend.failed: arithmetic: products in blocks of 0: must be at least 1"));
}

TEST(Faults, TapsThatCannotBeAreErrors) {
  expect_both("type taps", HasSubstr("a tensor of type 99"));
  expect_both("rank taps", HasSubstr("a tensor of rank 99"));
  expect_both("negative taps", HasSubstr("a tensor of shape [-1, 1]"));
  expect_both("overflow taps", HasSubstr("a tensor of shape [9223372036854775807, 9223372036854775807]"));
  expect_both("nothing taps", HasSubstr("a tensor without data"));
  expect_both("unknown taps", HasSubstr("decode: gave tap 99 of layer -1, which there is not"));
  expect_both("layer taps", HasSubstr("gave tap 2 of layer 3, which there is not"));
}

TEST(Faults, RatesThatCannotBeAreErrors) {
  for (const auto& [what, says] : {std::pair("negative rates", "backend.failed: measure_rates: -1 per second"),
                                   std::pair("nan rates", "backend.failed: measure_rates: nan per second"),
                                   std::pair("refuse rates", "backend.request: measure_rates: ")}) {
    const Fault fault(what);
    for (const auto& backend : {open_child(MLBENCH_PLUGIN_FAULTY), open_here(MLBENCH_PLUGIN_FAULTY)})
      EXPECT_THAT(error_of([&] { (void)backend->measure_rates({}, 0.1); }), StartsWith(says));
  }
  EXPECT_EQ(children(), 0);
}

// The time that it is told to take is not held against it.
TEST(Faults, MeasuringMayTakeItsTimeBeyondTheLimit) {
  const Fault fault("slow rates");  // 0.6 s
  EXPECT_TRUE(open_child(MLBENCH_PLUGIN_FAULTY, 0.3)->measure_rates({}, 60.0));
  EXPECT_THAT(error_of([&] { (void)open_child(MLBENCH_PLUGIN_FAULTY, 0.3)->measure_rates({}, 0.01); }),
              AllOf(StartsWith("backend.timeout: "), HasSubstr("measure_rates: ")));
}

TEST(Faults, MorePositionsThanRowsAreAnError) {
  expect_both("many positions", HasSubstr("get_query_positions: 1048576 positions for 1 rows"));
}

// Sums of estimates must not go around.
TEST(Faults, AnImpossibleEstimateStaysLarge) {
  const Fault fault("huge memory");
  for (const auto& backend : {open_child(MLBENCH_PLUGIN_FAULTY), open_here(MLBENCH_PLUGIN_FAULTY)})
    EXPECT_GE(backend->memory(model().config, {}, kLimits).total(), std::uint64_t{1} << 61U);
}

TEST(Faults, NoDeviceIsToldWithItsReason) {
  const Fault fault("none devices");
  for (const auto& backend : {open_child(MLBENCH_PLUGIN_FAULTY), open_here(MLBENCH_PLUGIN_FAULTY)}) {
    EXPECT_TRUE(backend->devices().empty());
    EXPECT_EQ(backend->why_none(), "no device file /dev/npu0");
  }
}

// In this process, an exception that leaves the library is caught; in its own, it ends that.
TEST(Faults, AnExceptionThatLeavesTheLibraryIsAnError) {
  EXPECT_EQ(error_here("throw embed"), "backend.failed: embed: a C++ exception left the call: out of the library");
  EXPECT_THAT(error_in_child("throw embed"), HasSubstr("a C++ exception left the call"));
}

// ---- memory around what the process is given ----

TEST(Faults, WritingAroundAResultIsAnError) {
  EXPECT_THAT(error_in_child("before embed"), HasSubstr("backend.failed: embed: wrote before its result"));
  EXPECT_THAT(error_in_child("behind embed"), HasSubstr("backend.failed: embed: wrote behind its result"));
  EXPECT_THAT(error_in_child("write forward"), HasSubstr("backend.failed: decode: changed its input"));
}

TEST(Faults, WhatIsLeftUnwrittenIsNotANumber) {
  const Fault fault("unwritten embed");
  const Opened opened;
  HostTensor out(DType::f32, {1, model().config.hidden_size});
  opened.backend->load(model(), {})->embed(std::vector<std::int32_t>{7}, out.view());
  const Tensor<double> values = out.widened();
  for (const double value : values.values()) ASSERT_TRUE(std::isnan(value));
}

}  // namespace
}  // namespace mlbench::plugin::test
