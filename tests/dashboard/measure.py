#!/usr/bin/env python3
"""How long the dashboard takes: measure.py MLBENCH MAKE_HISTORY [RUNS]. Made-up runs; times of this machine."""

import pathlib
import subprocess
import sys
import tempfile
import time

from browser import Browser

VIEWS = ("overview", "throughput", "accuracy", "tradeoffs", "compare", "runs")


def timed(act):
    begin = time.monotonic()
    act()
    return time.monotonic() - begin


def main():
    mlbench, make_history = sys.argv[1:3]
    runs = sys.argv[3] if len(sys.argv) > 3 else "10000"
    with tempfile.TemporaryDirectory() as folder:
        store, site = pathlib.Path(folder, "h.db"), pathlib.Path(folder, "site")
        subprocess.run([make_history, store, runs], check=True)
        print(f"{runs} runs, a store of {store.stat().st_size / 1e6:.0f} MB")
        seconds = timed(lambda: subprocess.run([mlbench, "report", "--store", store, "-o", site], check=True))
        size = sum(file.stat().st_size for file in site.iterdir())
        print(f"mlbench report: {seconds:.1f} s; the page has {size / 1e6:.1f} MB")
        with Browser() as browser:
            page = browser.page()
            print(f"opened in Chromium, drawn after {page.go(f'file://{site}/index.html'):.2f} s")
            for view in VIEWS:
                print(f"  {view}: drawn in {timed(lambda: page.show(f'view={view}&branch=*')):.2f} s")
            print(f"  heap: {page.value('performance.memory.usedJSHeapSize') / 1e6:.0f} MB")


main()
