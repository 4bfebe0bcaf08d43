"""A report in a real browser: looked at, clicked through, driven by keys alone, and attacked."""

import re

import pytest
from browser import chromium
from report_world import HOSTILE, MODEL, many

from agentprm import Store
from agentprm.credit.report import write_report

SIZES = {"desk": {"width": 1280, "height": 900}, "phone": {"width": 390, "height": 844}}


@pytest.fixture(scope="module")
def browser():
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def address(store, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_report(store, path, MODEL)
    return path.as_uri()


@pytest.fixture
def visit(browser, address):
    """Open a page that may say nothing on the console, show no dialog and ask for nothing."""
    said, asked, pages = [], [], []

    def go(url=address, size="desk", **options):
        page = browser.new_page(viewport=SIZES[size], **options)
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: (said.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(url)
        page.wait_for_selector(".tiles")
        pages.append(page)
        return page

    yield go
    assert [page.evaluate("typeof window.canary") for page in pages] == ["undefined"] * len(pages)
    for page in pages:
        page.close()
    assert said == []
    assert [url for url in asked if not url.startswith(("file:", "data:image/png;base64,"))] == []


def open_first(page):
    page.click(".row >> nth=0")
    page.wait_for_selector(".turn")


def heading(page):
    return page.inner_text("h1")


def wide(page):
    return page.evaluate("document.documentElement.scrollWidth - innerWidth")


def test_from_the_overview_to_an_episode_and_side_by_side(visit):
    page = visit()
    assert page.inner_text(".tile >> nth=0").split() == ["Episodes", "4", "1", "without", "an", "outcome"]
    assert "−0.50 at step 2" in page.inner_text(".row >> nth=0")
    assert "people wrong at step 2" in page.inner_text(".row >> nth=0").replace(":", "")
    open_first(page)
    assert heading(page) == "open the vault"
    assert page.locator(".turn[data-sank]").get_attribute("data-step") == "2"
    assert "The step that sank it: the score fell by 0.50." in page.inner_text("[data-sank]")
    turn = page.inner_text(".turn >> nth=1")
    for words in (
        "Finder",
        "a keypad",
        "Perhaps the web knows.",
        "search",
        "query: the code",
        "no results",
        "2 attempts",
    ):
        assert words in turn
    assert page.locator(".turn >> nth=0").locator("img").evaluate("image => image.naturalWidth") == 8
    page.get_by_label("Second scorer").select_option(label=page.locator("option", has_text="other@").first.inner_text())
    assert page.locator(".drawing .second").count() == 1
    assert "0.10 −0.40" in page.inner_text(".turn >> nth=1")
    page.get_by_label("Beside it").select_option(index=1)
    page.wait_for_selector(".n2")
    assert page.locator(".column").count() == 2
    assert "same task, succeeded, 3 steps" in page.locator("select >> nth=-1").locator("option:checked").inner_text()


def test_people_stand_beside_the_score(visit):
    page = visit()
    open_first(page)
    assert "people: wrong" in page.inner_text("[data-step='2']")
    assert "guessing" in page.inner_text("[data-step='2']")
    assert page.locator(".drawing .mark.yes").count() == page.locator(".drawing .mark.no").count() == 1


def test_by_keys_alone(visit):
    page = visit()
    page.keyboard.press("j")
    page.keyboard.press("j")
    assert page.evaluate("document.activeElement.id") == "episodes"
    assert page.get_attribute("#episodes", "aria-activedescendant") == "row-1"
    page.keyboard.press("k")
    page.keyboard.press("Enter")
    page.wait_for_selector(".turn")
    page.keyboard.press("j")
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement.dataset.step") == "1"
    page.keyboard.press("s")
    assert page.evaluate("document.activeElement.dataset.step") == "2"
    page.keyboard.press("n")
    page.wait_for_selector(".turns > :nth-child(6)")
    page.keyboard.press("p")
    page.wait_for_selector(".turns > :nth-child(5):last-child")
    page.keyboard.press("?")
    assert page.evaluate("document.activeElement.closest('[role=dialog]').getAttribute('aria-label')") == "Keys"
    page.keyboard.press("Escape")
    assert page.locator("[role=dialog]").count() == 0
    page.keyboard.press("Escape")
    page.wait_for_selector(".tiles")
    assert page.evaluate("document.activeElement.id") == "episodes", "where one came from"
    page.keyboard.press("c")
    page.keyboard.press("j")
    page.keyboard.press("c")
    page.wait_for_selector(".n2")
    page.keyboard.press("j")
    assert page.locator("[data-here]").count() == 2


def test_a_filter_is_a_key_away_and_back(visit):
    page = visit()
    page.keyboard.press("/")
    page.keyboard.type("strong@2")
    assert page.locator(".row").count() == 1
    assert "1 of 4 episodes" in page.inner_text("[role=status] >> nth=-1")
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.id") == "episodes"
    page.keyboard.press("Escape")
    assert page.locator(".row").count() == 4
    page.get_by_label("Outcome", exact=True).select_option("yes")
    assert page.locator(".row").count() == 1
    page.get_by_label("Outcome", exact=True).select_option("")
    page.get_by_label("Policy", exact=True).select_option("weak@1")
    assert page.locator(".row").count() == 2
    page.keyboard.press("/")
    page.keyboard.type("nonesuch")
    assert page.locator(".row").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_it_fits_the_window_in_light_and_dark(visit, size, scheme, tmp_path):
    page = visit(size=size, color_scheme=scheme)
    assert wide(page) <= 0
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    brightness = sum(map(int, re.findall(r"\d+", paper)[:3])) / 3
    assert (brightness < 128) == (scheme == "dark")
    open_first(page)
    assert wide(page) <= 0
    page.get_by_label("Beside it").select_option(index=1)
    page.wait_for_selector(".n2")
    assert wide(page) <= 0
    assert len(page.screenshot()) > 10_000
    page.keyboard.press("t")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != paper


def test_hostile_words_are_words(visit, made):
    page = visit()
    hostile = next(item for item in made if getattr(item, "env", None) == HOSTILE[2])
    page.evaluate("id => { location.hash = `#/e/${id}`; }", str(hostile.id))
    page.wait_for_selector(".turn")
    assert page.locator(".turn").count() == len(hostile) + 1
    shown = page.evaluate("document.querySelector('main').textContent")
    for text in (*HOSTILE[:6], HOSTILE[11]):
        assert text in shown
    assert "NUL ␀ escape ␛" in shown
    assert page.locator("main img, main script, main a, main iframe, main b[onclick]").count() == 0
    assert (
        page.evaluate("[...document.querySelectorAll('script')].filter(one => one.type !== 'application/json').length")
        == 1
    )
    for summary in page.locator("summary").all():
        summary.click()
    assert page.evaluate("getComputedStyle(document.querySelector('bdi')).unicodeBidi") == "isolate"
    assert wide(page) <= 0


def test_a_long_text_waits_to_be_asked_for(visit, made):
    page = visit()
    hostile = next(item for item in made if getattr(item, "env", None) == HOSTILE[2])
    page.evaluate("id => { location.hash = `#/e/${id}`; }", str(hostile.id))
    page.wait_for_selector(".turn")
    last = page.locator(f"[data-step='{len(hostile) - 1}']")
    assert len(last.locator(".passage >> nth=0").inner_text()) < 1_000
    last.locator("button", has_text="show all 20,000 characters").first.click()
    assert len(last.locator(".passage >> nth=0").inner_text()) == 20_000
    assert "980,000 more characters: see the store" in last.inner_text()


def test_everything_has_a_name_for_those_who_hear_it(visit):
    page = visit()
    unnamed = """() => [...document.querySelectorAll(
            'button, input, select, img, [role=img], [role=listbox], [role=region]')]
        .filter(one => !(one.getAttribute('aria-label') || one.alt || one.textContent.trim() || one.labels?.length))
        .map(one => one.outerHTML)"""
    assert page.evaluate(unnamed) == []
    row = page.locator("[role=option] >> nth=0")
    assert (row.get_attribute("aria-posinset"), row.get_attribute("aria-setsize")) == ("1", "4")
    open_first(page)
    assert page.evaluate(unnamed) == []
    assert "it fell most at step 2, by 0.50" in page.locator("svg[role=img]").last.get_attribute("aria-label")
    assert page.evaluate("document.activeElement.tagName") == "H1", "one hears where one is"
    page.keyboard.press("Tab")
    ring = "getComputedStyle(document.activeElement).outlineStyle"
    assert page.evaluate(ring) == "solid"


def test_an_address_that_leads_nowhere_says_so(visit, address):
    page = visit()
    page.evaluate("() => { location.hash = '#/e/<img src=x onerror=window.canary=1>'; }")
    page.wait_for_selector("text=this episode is not in the file")
    page.keyboard.press("Escape")
    page.wait_for_selector(".tiles")


def test_an_episode_has_an_address(visit, address, made):
    page = visit()
    page.goto("about:blank")
    page.goto(f"{address}#/e/{made[0].id}")
    page.wait_for_selector(".turn")
    assert heading(page) == "open the vault"


def test_next_and_previous_keep_to_the_filter(visit, address, made):
    page = visit()
    page.keyboard.press("/")
    page.keyboard.type("open vault")
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    page.wait_for_selector(".turn")
    page.keyboard.press("n")
    page.wait_for_selector("text=climb 2")
    page.keyboard.press("n")
    assert "climb 2" in page.inner_text("main"), "there is no third one"
    page.goto("about:blank")
    page.goto(f"{address}#/e/{made[0].id}")
    page.wait_for_selector(".turn")
    page.keyboard.press("n")
    page.wait_for_selector(".turns > :nth-child(6)")


def test_an_empty_store_says_what_to_do(visit, tmp_path):
    with Store(":memory:") as empty:
        write_report(empty, tmp_path / "empty.html")
    page = visit((tmp_path / "empty.html").as_uri())
    assert "the store holds no episodes: record some, or import them" in page.inner_text("main")


def test_a_thousand_episodes_of_thirty_steps_open(visit, tmp_path):
    with Store(tmp_path / "runs.db") as store:
        store.add(many(1_000, 30))
        write_report(store, tmp_path / "many.html")
    page = visit((tmp_path / "many.html").as_uri())
    assert page.inner_text(".tile >> nth=0 >> dd >> nth=0") == "1,000"
    assert page.locator(".row").count() < 40, "only what is looked at is drawn"
    page.evaluate("document.querySelector('#episodes').scrollTop = 1e9")
    page.wait_for_selector("[aria-posinset='1000']")
    page.click("[aria-posinset='1000']")
    page.wait_for_selector(".turn")
    assert page.locator(".turn[data-step]").count() == 30
