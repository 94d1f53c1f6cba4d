"""A real Chromium, driven by Playwright; pictures of what it shows go to build/page. Skipped where there is none."""

import shutil
from pathlib import Path
from urllib.parse import urlsplit

import pytest

pytestmark = pytest.mark.page
ROOT = Path(__file__).parent.parent.parent
PICTURES = ROOT / "build" / "page"
SCHEMES = ("dark", "light")  # the last one stays
WIDE, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.page)


@pytest.fixture(scope="session")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="make test-page installs Playwright")
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("there is no Chromium here: make test-page installs it where it may")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def axe(tmp_path_factory):
    """Give the text of axe-core, which looks for what keeps people from using a page."""
    from tickstockpl.ops.page.library import install, npm_command  # noqa: PLC0415

    if npm_command() is None:
        pytest.skip("there is no npm here: make test-page brings one")
    folder = tmp_path_factory.mktemp("axe")
    install(Path(__file__).parent / "npm", folder)
    return (folder / "node_modules" / "axe-core" / "axe.min.js").read_text()


class Visitor:
    """A person's tab, and what it complains about. wrong: errors of the console, and requests to elsewhere."""

    def __init__(self, browser, url, *, size=WIDE, **how):
        self.url = url
        self.wrong = []
        self.bytes = 0
        self.context = browser.new_context(viewport=size, **how)
        self.page = self.context.new_page()
        self.page.set_default_timeout(60_000)
        self.page.on("console", lambda said: said.type == "error" and self.wrong.append(said.text))
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("request", self._asked)
        self.page.on("response", self._got)

    def _asked(self, request):
        if urlsplit(request.url).netloc != urlsplit(self.url).netloc and not request.url.startswith("data:"):
            self.wrong.append(f"a request leaves: {request.url}")

    def _got(self, response):
        self.bytes += int(response.headers.get("content-length", 0))

    def open(self, place=""):
        self.page.goto(f"{self.url}/{place}")
        return self.page

    def rows(self, caption):
        """Return the cells of a table as text, row by row."""
        rows = self.page.get_by_role("region", name=caption).locator("tbody tr")
        return [row.split("\t") for row in rows.all_inner_texts()]

    def complaints(self):
        """Return what is wrong, without 503: a busy machine may be late with its answers, and the page asks again."""
        return [said for said in self.wrong if "503" not in said]

    def picture(self, name):
        """Take pictures in the light and in the dark scheme: NAME.png and NAME-dark.png."""
        PICTURES.mkdir(parents=True, exist_ok=True)
        for scheme in SCHEMES:
            self.page.emulate_media(color_scheme=scheme)
            self.page.screenshot(path=PICTURES / f"{name}{'-dark' if scheme == 'dark' else ''}.png")

    def faults(self, axe):
        """Return what axe-core calls serious or critical, in the light and in the dark scheme."""
        self.page.evaluate(axe)
        return [fault for scheme in SCHEMES for fault in self._faults_in(scheme)]

    def _faults_in(self, scheme):
        self.page.emulate_media(color_scheme=scheme)
        found = self.page.evaluate("axe.run({resultTypes: ['violations']})")["violations"]
        return [
            (scheme, one["id"], [node["html"][:120] for node in one["nodes"]])
            for one in found
            if one["impact"] in ("serious", "critical")
        ]


@pytest.fixture
def visit(browser):
    """Give a function that opens a tab of a new visitor, who knows nothing of the page yet."""
    visitors = []

    def come(url, **how):
        visitors.append(Visitor(browser, url, **how))
        return visitors[-1]

    yield come
    for visitor in visitors:
        visitor.context.close()
