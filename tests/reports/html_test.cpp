// Reports as HTML pages.
#include "reports/html.h"

#include <cmath>
#include <limits>
#include <regex>

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "reports/assets.h"
#include "reports/figures.h"
#include "reports/heat_map.h"
#include "tests/reports/example_run.h"

namespace mlbench::reports {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

constexpr double kInf = std::numeric_limits<double>::infinity();

std::string html(const std::vector<BackendVerification>& runs) { return to_html(runs); }

std::size_t count(const std::string& text, std::string_view part) {
  std::size_t found = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + part.size())) ++found;
  return found;
}

// The page without what stands in every page.
std::string own_part(const std::string& page) {
  const std::size_t begin = page.find("</style>"), data = page.find("<script type");
  return page.substr(begin, data - begin);
}

json data_of(const std::string& page) {
  const std::string open = "id=\"data\">";
  const std::size_t begin = page.find(open) + open.size();
  return json::parse(page.substr(begin, page.find("</script>", begin) - begin));
}

TEST(Html, CarriesChartJsWhole) {
  EXPECT_THAT(std::string(assets::chart_js().substr(0, 200)), HasSubstr("Chart.js v"));
  EXPECT_GT(assets::chart_js().size(), 100'000U);
  EXPECT_THAT(html({test::passed_run()}), HasSubstr(std::string(assets::chart_js())));
}

// Browsers read tags inside scripts, too.
TEST(Html, HoldsNoAssetThatEndsItsElement) {
  for (const std::string_view text : {assets::chart_js(), assets::page_js(), assets::page_css()}) {
    EXPECT_EQ(text.find("</script"), std::string_view::npos);
    EXPECT_EQ(text.find("<!--"), std::string_view::npos);
    EXPECT_EQ(text.find("</style"), std::string_view::npos);
  }
}

TEST(Html, FetchesNothing) {
  const std::string page = html({test::full_run()});
  EXPECT_THAT(page, HasSubstr("Content-Security-Policy\" content=\"default-src 'none';"));
  const std::string own = own_part(page);
  for (const char* fetch : {" src=", "<link", "<img", "<iframe", "url(", "@import"}) {
    EXPECT_THAT(own, Not(HasSubstr(fetch))) << fetch;
    EXPECT_EQ(assets::page_css().find(fetch), std::string_view::npos) << fetch;
  }
  EXPECT_FALSE(std::regex_search(own, std::regex("href=\"[^#]")));
}

TEST(Html, HasAMapForEachModeThatWasRun) {
  const std::string passed = html({test::passed_run()}), full = html({test::full_run()});
  EXPECT_EQ(count(passed, "<table class=\"map\">"), 2U);
  EXPECT_EQ(count(full, "<table class=\"map\">"), 3U);
  EXPECT_THAT(full, HasSubstr("<h3>exact</h3>"));
  EXPECT_EQ(count(html({test::unsupported_run()}), "<table class=\"map\">"), 0U);
}

TEST(Html, HasACanvasForEachChart) {
  const std::string page = html({test::full_run(), test::passed_run(), test::unsupported_run()});
  const json charts = data_of(page)["charts"];
  EXPECT_EQ(charts.size(), 7U);  // the spread of 3 and 2 modes, and two charts by layer
  for (const json& chart : charts) EXPECT_EQ(count(page, "<canvas id=\"" + chart["id"].get<std::string>() + "\">"), 1U);
  EXPECT_EQ(count(page, "<canvas"), charts.size());
}

TEST(Html, ShowsEverySectionOfAFailedRun) {
  const std::string page = html({test::full_run()});
  for (const char* part : {"memory.canary", "4 bytes behind it changed", "wrote outside a buffer", "untrusted.loose",
                           "Failures by cause", "halves of a head are swapped",
                           "First tap that strays:", "llama-small --call &quot;single/0 prefill&quot;</pre>",
                           "97 of 100", "99.5%", "Schedules", "4 failed", "Invariances", "taps on = off",
                           "Distance to the golden", "sliding windows", "a tensor is not used"}) {
    EXPECT_THAT(page, HasSubstr(part)) << part;
  }
  const std::string passed = own_part(html({test::passed_run()}));
  for (const char* part : {"Failures", "Schedules", "Invariances", "Logits", "Distance", "finding"})
    EXPECT_THAT(passed, Not(HasSubstr(part))) << part;
}

// Everything from outside is text: no tag, no attribute, no end of a script.
TEST(Html, LeavesNoTextFromOutsideAsMarkup) {
  const std::string hostile = "</script><script>alert(1)</script><!--\"'><img src=x onerror=alert(1)>\x01\x1b &amp;";
  const std::string page = html({test::run_full_of(hostile)}), plain = html({test::run_full_of("a")});
  for (const char* markup : {"<script", "</script", "<img", "<!--"})
    EXPECT_EQ(count(page, markup), count(plain, markup));
  for (const char* mark : {"<", ">", "\""})
    EXPECT_EQ(count(own_part(page), mark), count(own_part(plain), mark)) << mark;
  EXPECT_EQ(page.find_first_of("\x01\x1b"), std::string::npos);
  EXPECT_THAT(own_part(page), HasSubstr("&amp;amp;"));
  const json charts = data_of(page)["charts"];
  EXPECT_THAT(charts[0]["spread"]["taps"][0].get<std::string>(), StartsWith("</script><script>alert(1)"));
}

TEST(ScriptJson, HasNothingThatHtmlOrJavaScriptReadsOtherwise) {
  const std::string text = script_json({{"a", "<!--</script>&\xe2\x80\xa8\xff"}});
  EXPECT_EQ(text.find_first_of("<>&"), std::string::npos);
  EXPECT_THAT(text, Not(HasSubstr("\xe2\x80\xa8")));
  EXPECT_EQ(json::parse(text)["a"], "<!--</script>&\xe2\x80\xa8\xef\xbf\xbd");
}

TEST(Html, IsUtf8WhateverItIsGiven) {
  EXPECT_NO_THROW((void)json(html({test::run_full_of("\xff\xfe caf\xc3")})).dump());
}

TEST(Html, SurvivesFiguresThatAreNone) {
  for (const double figure : {kInf, -kInf, std::nan("")}) {
    const std::string page = html({test::run_full_of(figure)});
    EXPECT_THAT(own_part(page), HasSubstr("not finite"));
    EXPECT_TRUE(data_of(page)["charts"].is_array());
  }
}

TEST(RatioBand, GrowsWithTheRatioAndChangesAtTheLimit) {
  EXPECT_EQ(band_of(0.0), 0U);
  std::size_t last = 0;
  for (const double ratio : {1e-9, 0.05, 0.2, 0.5, 0.9, 1.5, 1e300}) {
    EXPECT_EQ(band_of(ratio), last + 1) << ratio;
    last = band_of(ratio);
  }
  EXPECT_LT(band_of(1.0), band_of(std::nextafter(1.0, 2.0)));
  for (const double ratio : {kInf, std::nan("")}) EXPECT_EQ(band_of(ratio), ratio_bands().size() - 1);
}

TEST(HeatMap, HasTheSameRowsAndColumnsInEveryMode) {
  const BackendVerification run = test::full_run();
  const HeatMap map(run);
  const auto shape = [&](VerifyMode mode) {
    const std::string table = map.table(mode);
    return std::pair(count(table, "<tr>"), count(table, "<td"));
  };
  EXPECT_EQ(shape(test::kIsolated), std::pair(std::size_t{4}, std::size_t{9}));  // 3 kinds; none, layers 0 and 1
  EXPECT_EQ(shape(test::kChained), shape(test::kIsolated));
  EXPECT_EQ(shape(test::kExact), shape(test::kIsolated));
  EXPECT_THAT(map.table(test::kIsolated), HasSubstr("<th>attn.q</th><td></td><td class=\"b3\" title=\"layers.0.attn.q: "
                                                    "0.25 in single/0 prefill; 1 check\">.25</td><td class=\"b7\" "));
}

TEST(HeatMap, ShowsTheWorstOfATileAndCountsItsFailures) {
  const BackendVerification run = test::run_of({test::failing(test::kIsolated, "a", "attn.q", 0, 5.0),
                                                test::failing(test::kIsolated, "b", "attn.q", 0, std::nan("")),
                                                test::passing(test::kIsolated, "c", "attn.q", 0, 0.5)});
  const HeatMap map(run);
  EXPECT_THAT(map.table(test::kIsolated),
              HasSubstr("title=\"layers.0.attn.q: not finite in b; 3 checks, 2 failed\">\u00d7</td>"));
  EXPECT_EQ(map.spread(test::kIsolated)["counts"][0].dump(), "[0,0,0,0,1,0,1,0,1]");
}

}  // namespace
}  // namespace mlbench::reports
