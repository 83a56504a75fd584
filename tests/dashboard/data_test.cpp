// The history as the page's scripts read it.
#include "reports/dashboard/data.h"

#include <limits>

#include <gmock/gmock.h>

#include "reports/dashboard/change_points.h"
#include "reports/dashboard/columns.h"
#include "reports/dashboard/page.h"

namespace mlbench::reports::dashboard {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr double kInf = std::numeric_limits<double>::infinity();

RunHead head(RunId id, StoredKind kind, const std::string& branch = "main") {
  RunHead out;
  out.id = id;
  out.kind = kind;
  out.started = "2026-11-21T10:00:00Z";
  out.branch = branch;
  out.processor = "a processor";
  out.verdict = "passed";
  return out;
}

StoredVerification part(RunId run, const std::string& dtype = "f32") {
  StoredVerification out;
  out.run = run;
  out.model = "olmo-small";
  out.architecture = "olmo";
  out.backend = "cpu";
  out.dtype = dtype;
  out.verdict = "passed";
  out.checks = 10;
  out.isolated = 0.5;
  return out;
}

StoredTap tap(RunId run, Index place, const std::string& kind, Index layer, double ratio, Index failed = 0) {
  return {run, place, kind, layer, "isolated", ratio, ratio, 1.0, failed};
}

StoredRow row(RunId run, double rate) {
  StoredRow out;
  out.run = run;
  out.point.model = "olmo-small";
  out.point.architecture = "olmo";
  out.point.backend = "cpu";
  out.point.dtype = "f32";
  out.method = "decode";
  out.decode = true;
  out.tokens_per_second = Estimate{rate, rate * 0.99, rate * 1.01};
  out.check = "passed";
  return out;
}

json made(const History& history) {
  return json(data_of(history, {"2026-11-22T00:00:00Z", "mlbench 0", "h.db", "", ""}));
}

std::string text(const json& data, const json& place) { return data["strings"][place.get<std::size_t>()]; }

TEST(DashboardData, IsEmptyOfAnEmptyHistory) {
  const json data = made({});
  EXPECT_EQ(data["runs"]["id"].size(), 0U);
  EXPECT_EQ(data["strings"], json::array({""}));
  EXPECT_EQ(data["series"]["changes"], json::array());
}

TEST(DashboardData, HasTextsOnceAndTimesAsSeconds) {
  History history;
  history.runs = {head(3, StoredKind::verification), head(5, StoredKind::benchmark)};
  history.runs[1].started = "yesterday";
  const json data = made(history);
  EXPECT_EQ(data["runs"]["id"], json({3, 5}));
  EXPECT_EQ(data["runs"]["started"], json({1795255200, nullptr}));
  EXPECT_EQ(data["runs"]["branch"][0], data["runs"]["branch"][1]);
  EXPECT_EQ(text(data, data["runs"]["kind"][0]), "verify");
  EXPECT_EQ(text(data, data["runs"]["kind"][1]), "bench");
}

TEST(DashboardData, LeavesOutWhatBelongsToNoRun) {
  History history;
  history.runs = {head(1, StoredKind::verification)};
  history.verifications = {part(1), part(99)};
  history.rows = {row(99, 10.0)};
  history.taps = {tap(99, 0, "embed", -1, 0.0)};
  const json data = made(history);
  EXPECT_EQ(data["parts"]["run"], json({0}));
  EXPECT_TRUE(data["rows"]["run"].empty());
  EXPECT_TRUE(data["heat"].empty());
}

TEST(DashboardData, TellsRatiosThatAreNotFiniteFromThoseThatAreNotThere) {
  History history;
  history.runs = {head(1, StoredKind::verification)};
  history.verifications = {part(1)};
  history.verifications[0].chained = kInf;
  const json data = made(history);
  EXPECT_EQ(data["parts"]["isolated"], json({0.5}));
  EXPECT_EQ(data["parts"]["chained"], json({-1}));
  EXPECT_EQ(data["parts"]["exact"], json({nullptr}));
}

TEST(DashboardData, HasTapsByKindAndLayer) {
  History history;
  history.runs = {head(1, StoredKind::verification)};
  history.verifications = {part(1, "f32"), part(1, "bf16")};
  history.taps = {tap(1, 1, "embed", -1, 0.0), tap(1, 1, "attn.q", 0, 0.25), tap(1, 1, "attn.q", 1, kInf, 4)};
  const json data = made(history);
  EXPECT_EQ(data["parts"]["heat"], json({-1, 0}));
  const json& map = data["heat"][0];
  EXPECT_EQ(map["layers"], json({-1, 0, 1}));
  EXPECT_EQ(text(data, map["kinds"][1]), "attn.q");
  EXPECT_EQ(map["modes"]["isolated"]["ratios"], json({0, nullptr, nullptr, nullptr, 0.25, -1}));
  EXPECT_EQ(map["modes"]["isolated"]["failed"], json({5}));
}

TEST(DashboardData, KeepsTapsOfTheNewestOfEachSeries) {
  History history;
  for (RunId id = 1; id <= 8; ++id) {
    history.runs.push_back(head(id, StoredKind::verification));
    history.verifications.push_back(part(id));
    if (id == 1) history.verifications.push_back(part(id, "bf16"));
    history.taps.push_back(tap(id, 0, "embed", -1, 0.0));
  }
  EXPECT_THAT(runs_with_heat_maps(history.runs, history.verifications), ElementsAre(1, 4, 5, 6, 7, 8));
  const json data = made(history);
  EXPECT_EQ(data["heat"].size(), kHeatMapsPerSeries);
  EXPECT_EQ(data["parts"]["heat"], json({-1, -1, -1, -1, 0, 1, 2, 3, 4}));
}

History slower_from(RunId first, RunId runs, const std::string& branch) {
  History history;
  for (RunId id = 1; id <= runs; ++id) {
    history.runs.push_back(head(id, StoredKind::benchmark, branch));
    history.rows.push_back(row(id, (id >= first ? 80.0 : 100.0) + 0.1 * static_cast<double>(id % 3)));
  }
  return history;
}

TEST(DashboardData, HasChangesOfASeriesByPlaceInItsRows) {
  const json data = made(slower_from(20, 40, "main"));
  const json& changes = data["series"]["changes"];
  ASSERT_EQ(changes.size(), 1U);
  ASSERT_EQ(changes[0].size(), 1U);  // of the branch, which is all
  EXPECT_EQ(text(data, changes[0][0][0]), "main");
  EXPECT_EQ(changes[0][0][1], 19);
  EXPECT_NEAR(changes[0][0][2].get<double>(), 0.8, 0.01);
}

// A slow branch is no regression of another.
TEST(DashboardData, LooksForChangesInEachBranchAlone) {
  History history = slower_from(100, 40, "main");
  for (RunId id = 41; id <= 60; ++id) {
    history.runs.push_back(head(id, StoredKind::benchmark, "slow"));
    history.rows.push_back(row(id, 50.0 + 0.1 * static_cast<double>(id % 3)));
  }
  const json data = made(history);
  const json& changes = data["series"]["changes"][0];
  ASSERT_EQ(changes.size(), 1U);
  EXPECT_EQ(changes[0][0], -1);  // all together
  EXPECT_EQ(changes[0][1], 40);
}

TEST(DashboardData, CountsNoRowThatIsWrong) {
  History history = slower_from(20, 40, "main");
  for (StoredRow& r : history.rows) {
    if (r.run >= 20) r.check = r.run % 2 == 0 ? "failed" : "implausible";
  }
  const json data = made(history);
  EXPECT_TRUE(data["series"]["changes"][0].empty());
  EXPECT_EQ(data["rows"]["rate"].size(), 40U);  // shown as what they are
}

TEST(DashboardData, TellsProcessorsApartAndNotHosts) {
  History history = slower_from(100, 3, "main");
  history.runs[1].host = "another";
  history.runs[2].processor = "another";
  const json data = made(history);
  EXPECT_EQ(data["rows"]["series"], json({0, 0, 1}));
}

TEST(DashboardData, WritesSurroundingsAsWhatDiffers) {
  History history;
  for (RunId id = 1; id <= 4; ++id) history.runs.push_back(head(id, StoredKind::benchmark));
  for (const char* load : {"0.5", "0.7"}) {
    const RunId run = history.facts.empty() ? 1 : 2;
    for (const StoredFact& fact :
         {StoredFact{run, "cpu", "c"}, {run, "kernel", "6.1"}, {run, "load", load}, {run, "os", "Debian"}})
      history.facts.push_back(fact);
  }
  history.facts.push_back({4, "cpu", "c"});
  const json data = made(history);
  const json& e = data["environments"];
  EXPECT_EQ(e[0][0], 0);
  ASSERT_EQ(e[1].size(), 3U);
  EXPECT_EQ(e[1][0], -1);
  EXPECT_EQ(e[1][1], 2);
  EXPECT_EQ(text(data, e[1][2]), "0.7");
  EXPECT_TRUE(e[2].is_null());
  EXPECT_EQ(e[3][0], 1);
  EXPECT_EQ(data["names"].size(), 2U);
}

TEST(Rounded, PrintsNoMoreDigitsThanWereAskedFor) {
  EXPECT_EQ(rounded(1234.5678, 5).dump(), "1234.6");
  EXPECT_EQ(rounded(123456789.0, 3).dump(), "123000000");
  EXPECT_EQ(rounded(1.23456e-7, 3).dump(), "1.23e-07");
  EXPECT_EQ(rounded(0.3, 3).dump(), "0.3");
  EXPECT_EQ(rounded(-0.0123456, 3).dump(), "-0.0123");
  EXPECT_EQ(rounded(0.0, 3).dump(), "0");
  EXPECT_EQ(rounded(kInf, 3).dump(), "null");
  EXPECT_EQ(rounded(5e-324, 3).dump(), json(5e-324).dump());
  EXPECT_EQ(rounded(1.7e308, 3).dump(), "1.7e+308");
}

TEST(SecondsOf, ReadsTimesAndDays) {
  EXPECT_EQ(seconds_of("1970-01-02T00:00:01Z"), 86401);
  EXPECT_EQ(seconds_of("2026-11-21"), 1795219200);
  for (const char* none : {"", "now", "2026-13-01", "2026-02-30T00:00:00Z"})
    EXPECT_TRUE(seconds_of(none).is_null()) << none;
}

// ---- the page

std::size_t count(const std::string& text, std::string_view part) {
  std::size_t found = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + part.size())) ++found;
  return found;
}

TEST(DashboardPage, HoldsNoTextFromOutsideAsMarkup) {
  History history = slower_from(20, 40, "</script><img src=x onerror=alert(1)><!--");
  history.runs[0].label = "';alert(1);//\\' \xff \xe2\x80\xa8";
  const auto data = data_of(history, {"", "</script>", "</style>", "<b>", "<i>"});
  History plain = slower_from(20, 40, "main");
  const std::string page = page_in_one(data), other = page_in_one(data_of(plain, {"", "", "", "", ""}));
  for (const char* mark : {"<script", "</script", "<img", "<!--", "<b>", "<i>", "</style"})
    EXPECT_EQ(count(page, mark), count(other, mark)) << mark;
  EXPECT_THAT(page, Not(HasSubstr("\xe2\x80\xa8")));
  EXPECT_NO_THROW((void)json(page).dump());  // UTF-8
}

TEST(DashboardPage, FetchesNothingAndForbidsIt) {
  const std::string page = page_in_one(data_of(slower_from(20, 40, "main"), {"", "", "", "", ""}));
  EXPECT_THAT(page, HasSubstr("content=\"default-src 'none'; style-src 'nonce-"));
  EXPECT_EQ(count(page, "<script nonce="), count(page, "<script"));
  for (const char* fetch : {" src=\"", "<link", "<img", "<iframe", "@import", "fetch(", "XMLHttpRequest", "innerHTML"})
    EXPECT_EQ(page.find(fetch), std::string::npos) << fetch;
  const std::vector<PageFile> files = page_in_files(data_of({}, {"", "", "", "", ""}));
  EXPECT_EQ(files.back().name, "index.html");
  EXPECT_THAT(files.back().text, Not(HasSubstr("://")));
  EXPECT_EQ(count(files.back().text, " src=\""), files.size() - 2);
}

TEST(DashboardPage, HasANumberOfItsOwn) {
  const auto data = data_of({}, {"", "", "", "", ""});
  EXPECT_NE(page_in_one(data), page_in_one(data));
  EXPECT_TRUE(is_ours(page_in_one(data)));
  EXPECT_FALSE(is_ours("<!DOCTYPE html><title>mlbench report</title>"));
}

}  // namespace
}  // namespace mlbench::reports::dashboard
