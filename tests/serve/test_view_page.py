"""The live page in a real browser: episodes appear as they arrive, and are loaded when they are opened."""

import pytest
from browser import chromium
from report_world import rose, running

from agentprm import Action, Ending, Observation, Step
from agentprm.types import Ended, Stepped


@pytest.fixture(scope="module")
def browser():
    with chromium() as opened:
        yield opened


@pytest.fixture
def visit(browser, serve, monkeypatch):
    monkeypatch.setattr("agentprm.serve.view._AT_LEAST_S", 0.0)
    monkeypatch.setattr("agentprm.serve.view._REST", 0.0)
    said, asked, pages = [], [], []

    def go(**options):
        view = serve(**options)
        page = browser.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url.partition("?")[0]))
        page.goto(view.url)
        page.wait_for_selector(".tiles")
        pages.append(page)
        return page, asked

    yield go
    for page in pages:
        page.close()
    assert said == []
    assert all(url.startswith(("http://127.0.0.1:", "data:image/png")) for url in asked)


def test_an_episode_is_loaded_when_it_is_opened(visit):
    page, asked = visit()
    assert not [url for url in asked if "/episode/" in url]
    page.click(".row >> nth=0")
    page.wait_for_selector(".turn")
    assert "open the vault" in page.inner_text("h1")
    assert len([url for url in asked if "/episode/" in url]) == 1


def test_new_episodes_appear_and_the_place_is_kept(visit, store):
    page, _ = visit()
    page.keyboard.press("/")
    page.keyboard.type("vault")
    assert page.locator(".row").count() == 2
    store.add(rose())
    page.wait_for_selector("#row-2")
    assert page.evaluate("document.activeElement.id") == "words"
    assert page.input_value("#words") == "vault"


def test_a_running_episode_grows_before_ones_eyes(visit, store):
    [t] = running()
    store.add(t)
    page, _ = visit()
    page.click(".row :text('wait for it')")
    page.wait_for_selector(".turn")
    assert "not ended" in page.inner_text(".facts")
    page.keyboard.press("j")
    store.write(Stepped(t.id, 2, Step(t.last, Action("open it")), Observation("inside")))
    page.wait_for_selector("text=open it")
    store.write(Ended(t.id, Ending("completed", outcome=1.0)))
    page.wait_for_selector(".facts :text('succeeded')")
    assert "completed" in page.inner_text(".facts")
    assert page.locator("[data-here]").get_attribute("data-step") == "0"


def test_a_token_in_the_address_is_enough_and_does_not_stay_there(visit):
    page, _ = visit(token="secret")
    assert "secret" not in page.url
    page.click(".row >> nth=0")
    page.wait_for_selector(".turn")


def test_a_server_that_goes_away_is_said(browser, store):
    import threading

    from agentprm.serve.view import View

    view = View(store)
    thread = threading.Thread(target=view.run)
    thread.start()
    page = browser.new_page()
    page.goto(view.url)
    page.wait_for_selector(".tiles")
    view.stop()
    thread.join()
    view.close()
    page.wait_for_selector("text=the server is away")
    assert page.locator(".row").count() == 2, "what was there is still there"
    page.close()
