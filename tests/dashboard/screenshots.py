#!/usr/bin/env python3
"""Pictures of a dashboard: screenshots.py SITE FOLDER."""

import pathlib
import sys

from browser import Browser, find_chromium

SCALE = 0.75  # the files are small, and what they show can still be read
DESKTOP, PHONE = {"width": 1280, "height": 860}, {"width": 390, "height": 844, "mobile": True}
PICTURES = (  # name, view, how, height
    ("overview", "overview", DESKTOP, 880), ("throughput-dark", "throughput", {**DESKTOP, "dark": True}, 720),
    ("accuracy", "accuracy", DESKTOP, 910), ("tradeoffs", "tradeoffs", DESKTOP, 1320),
    ("compare", "compare&a=246&b=360", {**DESKTOP, "dark": True}, 900), ("phone", "overview", PHONE, 1300),
    ("phone-dark", "throughput", {**PHONE, "dark": True}, 1000))


def main():
    if not find_chromium():
        sys.exit("chromium is not installed (apt-get install chromium)")
    site, folder = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    with Browser() as browser:
        for name, view, how, height in PICTURES:
            page = browser.page(f"file://{site}/index.html#view={view}", **how)
            page.picture(folder / f"dashboard-{name}.png", height, SCALE)
            page.close()


main()
