"""The search page: without a script in this process, and in a real Chromium."""

import html
import re
import urllib.parse
from html.parser import HTMLParser

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("prometheus_client")
from fastapi.testclient import TestClient

from pyserini_jpq.serve.app import create_app
from pyserini_jpq.serve.snippets import marked, snippet, words_of
from tests.serve.browser import CHROMIUM, Browser
from tests.serve.running import running

ATTACK = "bado <script>alert(1)</script> \"onmouseover='x' {{ 7 * 7 }}"


class Tags(HTMLParser):
    """Collects tags with their attributes, and the text."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def client(indexes):
    with TestClient(create_app(indexes), raise_server_exceptions=False) as client:
        yield client


@pytest.mark.integration
def test_a_query_without_a_script(client, documents):
    query = documents["d7"]["text"]
    answer = client.get("/", params={"query": query})
    page = Tags(answer.text)
    assert answer.status_code == 200 and len(page.all("li")) == 10 and "10 results in" in page.text
    link = page.all("a")[0]["href"]
    assert urllib.parse.parse_qs(urllib.parse.urlsplit(link).query) == {
        "index": ["notes"],
        "docid": ["d7"],
        "query": [query],
    }
    assert answer.text.count("<mark>") > 3 and page.all("input")[0]["value"] == query
    document = Tags(client.get("/" + link).text)
    assert documents["d7"]["title"] in document.text and documents["d7"]["text"] in document.text


@pytest.mark.integration
def test_two_side_by_side_say_what_moved(client, documents):
    params = {"query": documents["d7"]["text"], "index": "notes", "beside": "bare", "hits": 5}
    page = client.get("/", params=params).text
    left, right = page.split("<section")[1:]
    ranks = {docid: i for i, docid in enumerate(re.findall('class="docid">(.*?)<', left), 1)}
    moved = re.findall(r'class="moved \w+">([\w ]+)<', right)
    assert "moved" not in left and len(moved) == 5
    for rank, (docid, said) in enumerate(zip(re.findall('class="docid">(.*?)<', right), moved, strict=True), 1):
        by = ranks.get(docid, 0) - rank
        assert said == ("new" if docid not in ranks else "same" if not by else f"up {by}" if by > 0 else f"down {-by}")


@pytest.mark.integration
@pytest.mark.parametrize("where", ["query", "index", "beside", "hits"])
def test_all_that_is_shown_is_escaped(client, where):
    answer = client.get("/", params={"query": "bado kefa slash", where: ATTACK})
    scripts = Tags(answer.text).all("script")
    assert scripts == [{"src": "static/page.js", "defer": None}]
    assert not any("onmouseover" in name for _, attributes in Tags(answer.text).tags for name in attributes)
    assert "49" not in answer.text.replace(html.escape(ATTACK), "") or "{{ 7 * 7 }}" in answer.text
    assert answer.status_code == (200 if where == "query" else 400)


@pytest.mark.integration
def test_texts_and_docids_are_escaped(client, documents):
    for docid in ('q"', "it's", "a/b"):
        page = Tags(client.get("/document", params={"index": "notes", "docid": docid}).text)
        assert not page.all("script") and "<script>alert(1)</script>" in page.text and docid in page.text
    page = Tags(client.get("/", params={"query": documents['q"']["text"], "hits": 20}).text)
    assert len(page.all("script")) == 1 and "<script>alert(1)" in page.text


@pytest.mark.integration
def test_what_is_not_there(client):
    answer = client.get("/document", params={"index": "notes", "docid": ATTACK})
    assert answer.status_code == 404 and "no such document" in answer.text
    answer = client.get("/", params={"query": "bado", "index": "other"})
    assert answer.status_code == 400 and "no index is named other" in answer.text
    assert "307 documents" in client.get("/").text


@pytest.mark.unit
def test_a_snippet_is_the_passage_with_most_words():
    text = "begin " + "filler " * 200 + "the Quick brown fox, quick again " + "filler " * 200
    parts = snippet(text, words_of("what is a quick fox"))
    assert [part for part, is_word in parts if is_word] == ["Quick", "fox", "quick"]
    assert parts[0] == ("… ", False) and parts[-1] == (" …", False)
    assert 200 < len("".join(part for part, _ in parts)) < 330
    assert snippet("short", {"x"}) == [("short", False)] and snippet("", {"x"}) == []
    assert words_of("what is it") == {"what", "is", "it"}
    assert "".join(part for part, _ in marked("a, b! ä", {"b", "ä"})) == "a, b! ä"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if CHROMIUM is None:
        pytest.skip("no Chromium is here")
    browser = Browser(tmp_path_factory.mktemp("browser"))
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def address(indexes):
    with running(indexes) as (port, _):
        yield f"http://127.0.0.1:{port}/"


@pytest.mark.integration
def test_in_a_browser(browser, address, documents):
    """A stranger types a question, walks through the results by keys, and opens one; nothing comes from elsewhere."""
    query = documents["d7"]["text"]
    browser.look(1200)
    browser.open(address)
    assert browser.run("document.activeElement.name") == "query"
    for letter in query:
        browser.key(letter)
    browser.events.clear()
    browser.key("Enter")
    browser.loaded()
    assert browser.run("document.querySelectorAll('li').length") == 10
    assert browser.run("document.querySelector('mark').textContent") in query
    browser.run("document.activeElement.blur()")
    docid = "document.activeElement.closest('li').querySelector('.docid').textContent"
    shown = browser.run("[...document.querySelectorAll('.docid')].map(one => one.textContent)")
    walked = []
    for key in ("j", "j", "ArrowDown", "k"):
        browser.key(key)
        walked.append(browser.run(docid))
    assert walked == [shown[0], shown[1], shown[2], shown[1]]
    browser.key("/")
    assert (
        browser.run("document.activeElement.name") == "query" and browser.run("document.activeElement.value") == query
    )
    browser.key("ArrowDown")
    browser.events.clear()
    browser.key("Enter")
    browser.loaded()
    assert browser.run("document.querySelector('.docid').textContent") == "d7"
    assert all(url.startswith(address) for url in browser.requested())
    assert not browser.complaints()


@pytest.mark.integration
@pytest.mark.parametrize("dark", [False, True])
def test_a_phone_two_indexes_and_both_modes(browser, address, documents, dark):
    browser.look(360, dark=dark)
    query = {"query": documents['q"']["text"], "index": "notes", "beside": "bare"}
    browser.open(f"{address}?{urllib.parse.urlencode(query)}")
    assert browser.run("document.documentElement.scrollWidth") <= 360
    left, right = browser.run("[...document.querySelectorAll('section')].map(one => one.getBoundingClientRect().x)")
    assert left == right
    ground = browser.run("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(255, 255, 255)") is not dark
    browser.look(1200, dark=dark)
    left, right = browser.run("[...document.querySelectorAll('section')].map(one => one.getBoundingClientRect().x)")
    assert right > left + 300
    browser.run("document.getElementById('beside').value = ''")
    browser.events.clear()
    browser.run("document.getElementById('beside').dispatchEvent(new Event('change'))")
    browser.loaded()
    assert browser.run("document.querySelectorAll('section').length") == 1
    assert not browser.complaints()


@pytest.mark.integration
def test_the_plain_case_without_scripts(browser, address):
    browser.look(1200, scripts=False)
    browser.open(address)
    for letter in "bado kefa":
        browser.key(letter)
    browser.events.clear()
    browser.key("Enter")
    browser.loaded()
    browser.look(1200)
    assert browser.run("document.querySelectorAll('li').length") == 10
