#!/usr/bin/env python3
"""The dashboard in a browser: browser_test.py MLBENCH MAKE_HISTORY TESTCASE. Exits 77 where there is no Chromium."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

from browser import Browser, find_chromium

SKIPPED = 77
RUNS = 360
VIEWS = ("overview", "throughput", "accuracy", "tradeoffs", "compare", "compare&a=301&b=355", "compare&a=246&b=360", "runs",
         "runs&run=355", "runs&run=358")
CANVASES = {"throughput": 1, "accuracy": 1, "tradeoffs": 2}
HOSTILE = "</script><script>window.struck = 1</script><img src=x onerror='window.struck = 1'><!--\"'>"
here = pathlib.Path(__file__).parent


class Pages(unittest.TestCase):
    """A store of made-up runs, its page in files and in one, and a browser."""

    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="mlbench-dashboard-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.store = cls.folder / "h.db"
        subprocess.run([make_history, cls.store, str(RUNS)], check=True)
        subprocess.run([mlbench, "report", "--store", cls.store, "-o", cls.folder / "site", "--single-file",
                        cls.folder / "one.html", "--title", "Made-up runs"], check=True)
        cls.browser = cls.enterClassContext(Browser())

    def open(self, fragment="", file="site/index.html", **options):
        page = self.browser.page(f"file://{self.folder}/{file}#{fragment}", **options)
        self.addCleanup(page.close)
        return page

    def texts(self, page, selector):
        return page.value(f"[...document.querySelectorAll({json.dumps(selector)})].map((n) => n.innerText)")

    def section(self, title, rest=""):
        return f'section[aria-label="{title}"] {rest}'

    def assert_quiet(self, page):
        self.assertEqual(page.problems(), [])


class Views(Pages):
    def test_every_view_draws_itself(self):
        for file in ("site/index.html", "one.html"):
            page = self.open(file=file)
            for view in VIEWS:
                with self.subTest(view=view, file=file):
                    page.show("view=" + view)
                    self.assertGreater(page.value("document.querySelectorAll('main section').length"), 0)
                    drawn = page.value("""[...document.querySelectorAll('canvas')].map((c) =>
                        c.getContext('2d').getImageData(0, 0, c.width, c.height).data.filter((v) => v !== 0).length > 2000)""")
                    self.assertEqual(drawn, [True] * CANVASES.get(view, 0))
                    page.value("document.querySelectorAll('details summary').forEach((s) => s.click())")
                    self.assertNotRegex(page.value("document.querySelector('main').textContent"),
                                        r"\[object|undefined|\bNaN\b|Infinity|\bnull\b")
            self.assert_quiet(page)

    def test_nothing_is_fetched_beyond_the_folder(self):
        page = self.open()
        for view in VIEWS:
            page.show("view=" + view)
        asked = {re.sub(r"#.*", "", url).rsplit("/", 1)[1] for url in page.requests()}
        self.assertEqual(asked, {"index.html", "chart.js", "dashboard.css", "dashboard.js", "data.js"})

    def test_the_policy_lets_no_other_script_run(self):
        page = self.open()
        page.value("document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.struck = 1'}))")
        page.value("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.struck = 1\">')")
        self.assertIsNone(page.value("window.struck"))
        self.assertTrue(any("Content Security Policy" in said for said in page.problems()))

    def test_the_overview_tells_what_is_broken_and_slower(self):
        page = self.open()
        broken = self.texts(page, self.section("Broken now", "tbody tr"))
        self.assertEqual(len(broken), 2)
        self.assertRegex(broken[0], r"(?s)orion-small, rocm, bf16.*failed.*error / limit 41")
        self.assertRegex(broken[1], r"(?s)decode.*phi-small, cuda, bf16.*failed")
        slower = self.texts(page, self.section("Slower than before", "tbody tr"))
        self.assertEqual(len(slower), 3)
        self.assertRegex(slower[0], r"(?s)phi-small, rocm.*−1\d%")
        self.assertRegex(slower[2], r"(?s)llama-small, cuda, bf16.*−[789]\.\d%")
        self.assertRegex(self.texts(page, self.section("Faster than before", "tbody tr"))[0], r"(?s)olmo-small, cpu, f32.*\+1\d%")
        cells = self.texts(page, ".matrix tbody td")
        self.assertEqual(len(cells), 30)
        self.assertEqual(len([c for c in cells if "failed" in c]), 1)
        self.assertEqual(len([c for c in cells if "passed" in c]), 29)

    def test_the_change_of_a_series_leads_to_the_comparison_that_shows_it(self):
        page = self.open()
        page.value(f"document.querySelector('{self.section('Slower than before', 'tbody th a')}').click()")
        page.until("document.title.endsWith('Throughput')")
        self.assertIn("phi-small, rocm", page.value("document.querySelector('figcaption').innerText"))
        page.value("[...document.querySelectorAll('main a')].find((a) => a.innerText.startsWith('Compare')).click()")
        page.until("document.title.endsWith('Compare')")
        first = self.texts(page, self.section("Throughput", "tbody tr"))[0]
        self.assertRegex(first, r"(?s)decode.*phi-small, rocm.*−1\d%.*slower")
        self.assert_quiet(page)

    def test_a_chart_has_its_figures_as_a_table(self):
        page = self.open("view=throughput")
        page.value("document.querySelector('details.as-table summary').click()")
        page.until("document.querySelector('details.as-table table') !== null")
        runs = int(re.search(r"of (\d+)", page.value("document.querySelector('details.as-table .place').innerText")).group(1))
        self.assertIn(f"{runs} runs", page.value("document.querySelector('canvas').getAttribute('aria-label')"))

    def test_the_heat_map_shows_where_it_fails(self):
        page = self.open("view=accuracy")
        self.assertIn("orion-small, rocm, bf16", page.value("document.querySelector('figcaption').innerText"))
        failed = page.value("[...document.querySelectorAll('td.failed')].map((cell) => cell.title)")
        self.assertEqual(failed, ["attn.q, layer 2: 41, failed"] * 3)
        self.assertEqual(self.texts(page, ".heat caption"), ["isolated", "chained", "exact"])

    def test_what_was_not_finite_is_said_in_words(self):
        page = self.open("view=accuracy")
        line = page.value("[...document.querySelectorAll('main select')][0].querySelectorAll('option').length")
        self.assertEqual(line, 30)
        page.value("""(() => { const box = document.querySelector('main select');
            box.value = [...box.options].find((o) => o.text.startsWith('gptbigcode-small, cuda, f16')).value;
            box.dispatchEvent(new Event('change')); })()""")
        page.until("document.querySelector('figcaption').innerText.includes('gptbigcode-small, cuda, f16')")
        page.value("document.querySelector('details.as-table summary').click()")
        page.until("document.querySelector('details.as-table table') !== null")
        self.assertTrue(any("not finite" in row for row in self.texts(page, "details.as-table tbody tr")))

    def test_a_run_has_its_command_and_surroundings(self):
        page = self.open("view=runs&run=358")
        self.assertEqual(self.texts(page, "pre.command"), ["mlbench bench --arch llama,olmo,phi --backend cpu --dtype f32,bf16"])
        facts = self.texts(page, self.section("Environment", "tbody tr"))
        self.assertIn("kernel\t6.1.0-22-amd64", facts)
        self.assertIn("governor\tperformance", facts)

    def test_runs_that_differ_in_surroundings_say_so(self):
        page = self.open("view=compare&a=10&b=358")
        self.assertTrue(any(fact.startswith("kernel\t6.1.0-18-amd64\t6.1.0-22") for fact in self.texts(page, self.section("Where they ran", "tbody tr"))))
        page.show("view=compare&a=10&b=123456")
        self.assertIn("There is no run 123456", page.value("document.querySelector('main').innerText"))

    def test_an_empty_store_says_how_to_fill_it(self):
        subprocess.run([mlbench, "report", "--store", self.store, "--branch", "none", "-o", self.folder / "none"], check=True)
        page = self.open(file="none/index.html")
        self.assertIn("--branch none", page.value("document.querySelector('main').innerText"))
        subprocess.run([make_history, self.folder / "e.db", "0"], check=True)
        subprocess.run([mlbench, "report", "--store", self.folder / "e.db", "-o", self.folder / "none"], check=True)
        page = self.open(file="none/index.html")
        self.assertIn("mlbench report", page.value("document.querySelector('main pre').innerText"))
        self.assert_quiet(page)


class Filters(Pages):
    def choose(self, page, label, value):
        page.value("""(() => { const field = [...document.querySelectorAll('#filter-form label')].find((l) => l.firstChild.textContent === %s);
            const box = field.querySelector('select'); box.value = %s; box.dispatchEvent(new Event('change')); })()""" %
                   (json.dumps(label), json.dumps(value)))

    def test_of_a_backend_leave_the_others_out(self):
        page = self.open()
        self.choose(page, "Backend", "cuda")
        page.until("location.hash.includes('backend=cuda')")
        page.until("document.querySelectorAll('.matrix tbody td').length === 10")
        self.assertEqual(len(self.texts(page, self.section("Broken now", "tbody tr"))), 1)
        self.assertIn("Backend: cuda", page.value("document.getElementById('filters-set').innerText"))
        for view in VIEWS:
            page.show("view=" + view + "&backend=cuda")
        page.value("[...document.querySelectorAll('#filter-form button')][0].click()")
        page.until("!location.hash.includes('backend')")
        self.assert_quiet(page)

    def test_stand_in_the_address_and_outlast_views_and_reloads(self):
        page = self.open("architecture=phi&dtype=bf16")
        self.assertEqual(page.value("document.querySelectorAll('.matrix tbody td').length"), 3)
        page.value("[...document.querySelectorAll('nav a')].find((a) => a.innerText === 'Throughput').click()")
        page.until("document.title.endsWith('Throughput')")
        self.assertTrue(all("phi-small" in row for row in self.texts(page, self.section("Series", "tbody tr"))))
        page.value("history.back()")
        page.until("document.title.endsWith('Overview')")
        page.value("history.forward()")
        page.until("document.title.endsWith('Throughput')")
        page.reload()
        page.until("document.title.endsWith('Throughput')")
        series = self.texts(page, self.section("Series", "tbody tr"))
        self.assertGreater(len(series), 0)
        self.assertTrue(all("bf16" in row for row in series))

    def test_of_branches_show_one_at_a_time_unless_asked(self):
        page = self.open("view=runs")
        counted = lambda: int(page.value("document.querySelector('main').innerText").split(" runs, the newest")[0].split()[-1])
        main = counted()
        self.choose(page, "Branch", "=fused-rope")
        page.until("location.hash.includes('branch')")
        page.until("document.getElementById('filters-set').innerText.includes('fused-rope')")
        branch = counted()
        self.choose(page, "Branch", "*")
        page.until("document.getElementById('filters-set').innerText.includes('all')")
        self.assertEqual(counted(), RUNS)
        self.assertEqual(main + branch, RUNS)
        self.assertGreater(main, branch)

    def test_of_time_count_from_the_newest_run(self):
        page = self.open("view=runs&period=7")
        days = self.texts(page, self.section("Runs", "tbody tr td:nth-child(2)"))
        self.assertGreater(len(days), 10)
        self.assertTrue(all(day >= "2025-01-13" for day in days), days[-1])

    def test_that_nothing_passes_leave_words_and_no_error(self):
        page = self.open()
        for view in VIEWS:
            page.show("view=" + view + "&architecture=none&branch=%3Dnone")
            self.assertNotEqual(page.value("document.querySelector('main').innerText"), "")
        self.assert_quiet(page)

    def test_of_unknown_names_and_views_do_no_harm(self):
        page = self.open("view=constructor&line=x&series=y&run=z&a=-1&page=q&branch=__proto__&toString=1")
        self.assertTrue(page.value("document.title").endswith("Overview"))
        for view in VIEWS:
            page.show("view=" + view + "&line=x&series=y&of=z&roof=w")
        self.assert_quiet(page)


class Keyboard(Pages):
    def focused(self, page):
        return page.value("document.activeElement.innerText || document.activeElement.id || document.activeElement.tagName")

    def test_reaches_the_content_by_the_first_key(self):
        page = self.open()
        page.tab()
        self.assertEqual(self.focused(page), "Skip to the content")
        self.assertGreaterEqual(page.value("document.activeElement.getBoundingClientRect().top"), 0)
        page.enter()
        self.assertEqual(page.value("document.activeElement.id"), "main")
        self.assertEqual(page.value("location.hash"), "")

    def test_goes_to_a_view_and_lands_in_it(self):
        page = self.open()
        for _ in range(3):
            page.tab()
        self.assertEqual(self.focused(page), "Throughput")
        self.assertNotEqual(page.value("getComputedStyle(document.activeElement).outlineStyle"), "none")
        page.enter()
        page.until("document.title.endsWith('Throughput')")
        self.assertEqual(page.value("document.activeElement.id"), "main")
        self.assertEqual(self.texts(page, "nav [aria-current=page]"), ["Throughput"])

    def test_turns_pages_without_losing_its_place(self):
        page = self.open("view=runs")
        page.value("[...document.querySelectorAll('.pager button')][1].focus()")
        before = page.value("document.querySelector('.place').innerText")
        page.enter()
        page.until(f"document.querySelector('.place').innerText !== {json.dumps(before)}")
        self.assertEqual(self.focused(page), "Next")
        self.assertIn("51–100 of", page.value("document.getElementById('status').innerText"))

    def test_keeps_the_control_that_it_changes(self):
        page = self.open("view=tradeoffs")
        page.value("document.querySelector('main select').focus()")
        page.press("ArrowDown", number=40)
        page.until("location.hash.includes('phase=prefill')")
        page.until("document.querySelector('main select').value === 'prefill'")
        self.assertEqual(page.value("document.activeElement === document.querySelector('main select')"), True)

    def test_reaches_everything_that_acts_or_scrolls(self):
        page = self.open()
        for view in VIEWS:
            page.show("view=" + view)
            out_of_reach = page.value("""[...document.querySelectorAll('a, button, select, input, summary, .scroll, pre')]
                .filter((n) => n.tabIndex < 0 || (n.tagName === 'A' && !n.hasAttribute('href'))).map((n) => n.outerHTML)""")
            self.assertEqual(out_of_reach, [], view)


class Reading(Pages):
    """What a screen reader meets, and whether eyes can read it."""

    def test_everything_has_a_name(self):
        page = self.open()
        roles = {"link", "button", "combobox", "spinbutton", "img", "image", "figure", "table", "region", "navigation", "form", "DisclosureTriangle"}
        for view in VIEWS:
            page.show("view=" + view)
            nameless = [node["role"]["value"] for node in page.call("Accessibility.getFullAXTree")["nodes"]
                        if not node.get("ignored") and node["role"]["value"] in roles and not node.get("name", {}).get("value")]
            self.assertEqual([role for role in nameless if role != "figure"], [], view)

    def test_the_page_has_its_landmarks_and_headings(self):
        page = self.open()
        for view in VIEWS:
            page.show("view=" + view)
            roles = [node["role"]["value"] for node in page.call("Accessibility.getFullAXTree")["nodes"] if not node.get("ignored")]
            for landmark in ("banner", "navigation", "main", "contentinfo", "status"):
                self.assertEqual(roles.count(landmark), 1, (view, landmark))
            levels = page.value("[...document.querySelectorAll('h1, h2, h3')].map((h) => Number(h.tagName[1]))")
            self.assertEqual(levels[:2], [1, 2])
            self.assertTrue(all(b - a <= 1 for a, b in zip(levels, levels[1:])), (view, levels))
        self.assertEqual(page.value("document.documentElement.lang"), "en")

    def test_tables_have_captions_and_scopes(self):
        page = self.open()
        for view in VIEWS:
            page.show("view=" + view)
            bare = page.value("""[...document.querySelectorAll('table')].filter((t) => !t.caption || t.caption.textContent === '' ||
                [...t.querySelectorAll('th')].some((h) => !h.scope)).length""")
            self.assertEqual(bare, 0, view)

    def test_a_verdict_is_never_a_colour_alone(self):
        page = self.open()
        for view in VIEWS:
            page.show("view=" + view)
            mute = page.value("[...document.querySelectorAll('.badge, .verdict')].filter((n) => !/[a-z]{4}/.test(n.innerText)).length")
            self.assertEqual(mute, 0, view)

    def test_text_has_the_contrast_that_wcag_asks_for(self):
        script = (here / "contrast.js").read_text()
        for dark in (False, True):
            page = self.open(dark=dark)
            for view in VIEWS:
                page.show("view=" + view)
                self.assertEqual(page.value(script), [], (view, "dark" if dark else "light"))

    def test_the_scheme_is_the_one_that_is_preferred(self):
        page = self.open()
        background = "getComputedStyle(document.body).backgroundColor"
        light = page.value(background)
        page.media(dark=True)
        page.until(f"{background} !== {json.dumps(light)}")
        self.assertLess(sum(map(int, re.findall(r"\d+", page.value(background))[:3])), 150)
        self.assert_quiet(page)

    def test_a_phone_shows_it_without_scrolling_sideways(self):
        page = self.open(width=390, height=800, mobile=True)
        self.assertFalse(page.value("document.getElementById('filters').open"))
        for view in VIEWS:
            page.show("view=" + view)
            self.assertLessEqual(page.value("document.documentElement.scrollWidth"), 390, view)

    def test_nothing_moves_where_that_is_asked_for(self):
        page = self.open("view=throughput", motion=False)
        self.assertEqual(page.value("document.getAnimations().length"), 0)
        self.assertFalse(page.value("Chart.defaults.animation"))


class Text(Pages):
    """Whatever stands in a run, it is text."""

    def test_no_text_of_a_run_is_markup(self):
        hostile = self.folder / "hostile"
        shutil.copytree(self.folder / "site", hostile)
        literal = (hostile / "data.js").read_text()
        data = json.loads(re.fullmatch(r"const mlbenchData = JSON\.parse\('(.*)'\);\n", literal, re.S).group(1)
                          .replace("\\\\", "\\").replace("\\'", "'"))
        kept = {"verify", "bench", "passed", "failed", ""}  # what decides which parts of the page there are
        data["strings"] = [s if s in kept else s + HOSTILE for s in data["strings"]]
        for name in ("title", "program", "store", "filter"):
            data["made"][name] = HOSTILE
        (hostile / "data.js").write_text("const mlbenchData = " + json.dumps(data) + ";\n")
        page = self.open(file="hostile/index.html")
        for view in VIEWS:
            page.show("view=" + view)
            page.value("document.querySelectorAll('details summary').forEach((s) => s.click())")
            self.assertEqual(page.value("document.querySelectorAll('main img, main script, header img, footer img').length"), 0, view)
        self.assertIsNone(page.value("window.struck"))
        self.assertIn("<img src=x", page.value("document.body.innerText"))
        self.assert_quiet(page)


if __name__ == "__main__":
    mlbench, make_history, case = sys.argv[1:4]
    if not find_chromium():
        print("skipped: chromium is not installed (apt-get install chromium)")
        sys.exit(SKIPPED)
    unittest.main(argv=[sys.argv[0], case], verbosity=2)
