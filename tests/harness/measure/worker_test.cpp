// The talk between a program and another build of it that runs the same points.
#include "harness/measure/worker.h"

#include <limits>
#include <sstream>

#include <gmock/gmock.h>

#include "tests/support/expect_error.h"

namespace mlbench::measure {
namespace {

using nlohmann::json;

class Scripted : public Contender {
 public:
  std::vector<TimedMethod> repeat(std::size_t point) override {
    if (point == 1) throw Error(ErrorKind::internal, "backend.failed", "it\nbroke");
    TimedMethod time;
    time.seconds = 0.25;
    time.steps = {0.125, 0.125};
    return {time};
  }
  std::vector<Verified> check(std::size_t) override {
    return {{BenchCheck::failed, std::numeric_limits<double>::infinity(), "strays"}};
  }
  std::uint64_t peak_memory() override { return 77; }
};

std::vector<json> talk(const std::string& requests) {
  Scripted contender;
  std::istringstream in(requests);
  std::ostringstream out;
  serve(contender, 2, "1.2.3", in, out);
  std::vector<json> lines;
  std::istringstream answers(out.str());
  for (std::string line; std::getline(answers, line);) lines.push_back(json::parse(line));
  return lines;
}

TEST(Worker, AnswersEveryRequestInOneLine) {
  const std::vector<json> lines =
      talk("{\"repeat\": 0}\n{\"check\": 0}\n{\"peak\": true}\n{\"release\": true}\n{\"repeat\": 1}\n");
  ASSERT_EQ(lines.size(), 6U);
  EXPECT_EQ(lines[0]["points"], 2);
  EXPECT_EQ(lines[0]["version"], "1.2.3");
  EXPECT_EQ(lines[1]["times"][0]["seconds"], 0.25);
  EXPECT_EQ(lines[1]["times"][0]["steps"].size(), 2U);
  EXPECT_TRUE(lines[1]["times"][0]["joules"].is_null());
  EXPECT_EQ(lines[2]["verified"][0]["check"], "failed");
  EXPECT_TRUE(lines[2]["verified"][0]["ratio"].is_null());
  EXPECT_EQ(lines[3]["peak"], 77);
  EXPECT_EQ(lines[4], json::object());
  EXPECT_EQ(lines[5]["error"]["code"], "backend.failed");
}

TEST(Worker, RequestsThatCannotBeAreErrorsAndItGoesOn) {
  const std::vector<json> lines =
      talk("nonsense\n[]\n{\"repeat\": 9}\n{\"repeat\": -1}\n{\"fly\": 1}\n{\"peak\": true}\n");
  ASSERT_EQ(lines.size(), 7U);
  for (std::size_t i = 1; i < 6; ++i) EXPECT_TRUE(lines[i].contains("error")) << lines[i];
  EXPECT_EQ(lines[6]["peak"], 77);
}

TEST(Worker, AProgramThatIsNoneIsTold) {
  const auto start = [](std::vector<std::string> command) {
    return [command = std::move(command)] { const WorkerContender worker(command, 2); };
  };
  for (const std::vector<std::string>& command : {std::vector<std::string>{"/bin/true"},
                                                  {"/bin/echo", "hello"},
                                                  {"/bin/echo", "{\"worker\": 1, \"points\": 3}"}}) {
    try {
      start(command)();
      ADD_FAILURE() << command[0];
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), "bench.worker");
      EXPECT_EQ(error.kind(), ErrorKind::unavailable);
      EXPECT_THAT(error.message(), ::testing::StartsWith(command[0]));
    }
  }
  try {
    start({"/nowhere/mlbench"})();
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_THAT(error.message(), ::testing::HasSubstr("cannot be started"));
  }
}

}  // namespace
}  // namespace mlbench::measure
