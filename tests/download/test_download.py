"""A server on loopback stands in for the publisher: broken off, resumed, changed, refused, gone."""

import hashlib
import random
import threading

import pytest

from pyserini_jpq.download import download
from pyserini_jpq.download.download import fetch, name_of
from pyserini_jpq.errors import DownloadError
from tests.publisher import Published

pytestmark = pytest.mark.unit
CONTENT = random.Random(3).randbytes(300_000)


@pytest.fixture(autouse=True)
def waits(monkeypatch):
    """No test waits between attempts; what would have been waited is noted."""
    waited = []
    monkeypatch.setattr(download.time, "sleep", waited.append)
    return waited


def names(folder):
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


def test_fetches_once_and_notes_the_checksum(publisher, tmp_path, caplog):
    caplog.set_level("INFO")
    publisher.files["s/OPQ4,IVF1,PQ4x8.index"] = Published(CONTENT)
    url = publisher.url("s/OPQ4%2CIVF1%2CPQ4x8.index?dl=1")
    path = fetch(url, tmp_path / "x", "the index x")
    assert path == tmp_path / "x" / "OPQ4,IVF1,PQ4x8.index" and path.read_bytes() == CONTENT
    assert names(tmp_path / "x") == [path.name, "SHA256SUMS"]
    digest = hashlib.sha256(CONTENT).hexdigest()
    assert (tmp_path / "x" / "SHA256SUMS").read_text() == f"{digest}  {path.name}\n"
    err = caplog.text
    assert f"fetching the index x from {url}" in err and digest in err
    assert fetch(url, tmp_path / "x", "the index x") == path
    assert len(publisher.requests) == 1


def test_goes_on_within_a_command_and_in_the_next(publisher, tmp_path):
    file = publisher.files["a"] = Published(CONTENT, breaks=[100_000, 50_000, 0, 0, 0, 0, 0, 0])
    with pytest.raises(DownloadError, match=r"cannot fetch it from http.*the same command again.*put it at .*/a"):
        fetch(publisher.url("a"), tmp_path, "it")
    begun = [int(asked.strip("bytes=-")) for _, asked in publisher.requests[1:]]
    assert publisher.requests[0] == ("a", None) and 67_000 < begun[0] <= 100_000 and begun[1] > begun[0]
    assert names(tmp_path) == [".a.partial", ".a.partial.json"]
    file.breaks = []
    publisher.requests.clear()
    assert fetch(publisher.url("a"), tmp_path, "it").read_bytes() == CONTENT
    assert publisher.requests == [("a", f"bytes={begun[-1]}-")]
    assert names(tmp_path) == ["SHA256SUMS", "a"]


def test_interrupted_by_the_user_keeps_what_has_arrived(publisher, tmp_path, monkeypatch):
    publisher.files["a"] = Published(CONTENT)
    blocks = download.requests.Response.iter_content

    def interrupted(response, _):
        yield next(iter(blocks(response, 1000)))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(download.requests.Response, "iter_content", interrupted)
        with pytest.raises(KeyboardInterrupt):
            fetch(publisher.url("a"), tmp_path, "it")
    assert fetch(publisher.url("a"), tmp_path, "it").read_bytes() == CONTENT
    assert publisher.requests[-1] == ("a", "bytes=1000-")


@pytest.mark.parametrize("changes", [{"etag": '"2"'}, {"ranges": False}, {"etag": None}, {"etag": 'W/"1"'}])
def test_starts_over_where_the_rest_may_be_of_another_file(publisher, tmp_path, changes):
    file = publisher.files["a"] = Published(b"old" * 50_000, etag=changes.get("etag", '"1"') and '"1"', breaks=[3000])
    if changes.get("etag", "") is None or str(changes.get("etag")).startswith("W/"):
        file.etag = changes["etag"]
    file.breaks += [0] * 6
    with pytest.raises(DownloadError):
        fetch(publisher.url("a"), tmp_path, "it")
    publisher.files["a"] = Published(CONTENT, **changes)
    assert fetch(publisher.url("a"), tmp_path, "it").read_bytes() == CONTENT


def test_a_part_longer_than_the_file_starts_over(publisher, tmp_path):
    publisher.files["a"] = Published(CONTENT, breaks=[200_000, 0, 0, 0, 0, 0])
    with pytest.raises(DownloadError):
        fetch(publisher.url("a"), tmp_path, "it")
    publisher.files["a"] = Published(CONTENT[:1000])
    assert fetch(publisher.url("a"), tmp_path, "it").read_bytes() == CONTENT[:1000]


@pytest.mark.parametrize("checksum", ["sha256:" + "0" * 64, "md5:" + "0" * 32])
def test_wrong_checksum_leaves_nothing(publisher, tmp_path, checksum):
    publisher.files["a"] = Published(CONTENT)
    with pytest.raises(DownloadError, match="its card says 0000") as problem:
        fetch(publisher.url("a"), tmp_path, "it", checksum)
    assert "\n" not in str(problem.value) and names(tmp_path) == []
    good = "md5:" + hashlib.md5(CONTENT).hexdigest()
    assert fetch(publisher.url("a"), tmp_path, "it", good).read_bytes() == CONTENT


def test_checksum_of_the_first_time_holds(publisher, tmp_path):
    publisher.files["a"] = Published(CONTENT)
    path = fetch(publisher.url("a"), tmp_path, "it")
    path.write_bytes(b"tampered with")
    with pytest.raises(DownloadError, match=r"is noted in .*SHA256SUMS from the first time"):
        fetch(publisher.url("a"), tmp_path, "it")
    path.unlink()
    publisher.files["a"] = Published(b"another")
    with pytest.raises(DownloadError, match="if the publisher has replaced the file, remove that line"):
        fetch(publisher.url("a"), tmp_path, "it")
    assert names(tmp_path) == ["SHA256SUMS"]


def test_put_there_by_hand(tmp_path):
    (tmp_path / "a").write_bytes(CONTENT)
    url = "http://127.0.0.1:9/a"
    assert fetch(url, tmp_path, "it").read_bytes() == CONTENT
    assert hashlib.sha256(CONTENT).hexdigest() in (tmp_path / "SHA256SUMS").read_text()
    (tmp_path / "a").write_bytes(b"")
    with pytest.raises(DownloadError, match="SHA256SUMS"):
        fetch(url, tmp_path, "it")


def test_without_a_network_one_line_and_no_waiting(tmp_path, waits, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with pytest.raises(DownloadError) as problem:
        fetch("http://127.0.0.1:9/s/m96.tar.gz?dl=1", tmp_path / "x", "the query encoder of x")
    text = str(problem.value)
    assert "\n" not in text and len(waits) <= 1
    assert "the query encoder of x from http://127.0.0.1:9/s/m96.tar.gz?dl=1 (" in text and "refused" in text
    assert text.endswith(f"put it at {tmp_path}/x/m96.tar.gz")


def test_the_next_address_where_the_first_refuses(publisher, tmp_path):
    publisher.files["new/a"] = Published(CONTENT)
    publisher.files["old/a"] = Published(b"", statuses=[409])
    urls = [publisher.url("old/a"), publisher.url("new/a")]
    assert fetch(urls, tmp_path, "it").read_bytes() == CONTENT
    publisher.files.clear()
    with pytest.raises(DownloadError, match=r"old/a \(the host says 404 .*\) nor from .*new/a \(the host says 404"):
        fetch(urls, tmp_path / "x", "it")


def test_a_host_that_is_busy_is_asked_again(publisher, tmp_path, waits):
    publisher.files["a"] = Published(CONTENT, statuses=[503, 429])
    assert fetch(publisher.url("a"), tmp_path, "it").read_bytes() == CONTENT
    assert len(waits) == 2 and waits[1] > waits[0]


def test_web_page_in_place_of_the_file(publisher, tmp_path):
    publisher.files["m96.tar.gz"] = Published(b"<html>too many downloads", kind="text/html; charset=utf-8")
    with pytest.raises(DownloadError, match="answers with a web page"):
        fetch(publisher.url("m96.tar.gz"), tmp_path, "it")
    assert names(tmp_path) == []


def test_length_unknown(publisher, tmp_path):
    publisher.files["a"] = Published(CONTENT, length=False)
    assert fetch(publisher.url("a"), tmp_path, "it").read_bytes() == CONTENT


@pytest.mark.parametrize("url", ["http://h/", "http://h", "http://h/a/..", "http://h/%2e%2e", "http://h/.bashrc"])
def test_addresses_without_a_name(url):
    with pytest.raises(DownloadError, match="names no file"):
        name_of(url)


def test_names_cannot_leave_the_folder():
    assert name_of("http://h/a%2F..%2F..%2Fetc%2Fpasswd") == "passwd"
    with pytest.raises(DownloadError):
        name_of("http://h/..%5C..%5Cx")


@pytest.mark.parametrize("told", ["bytes 0-299999/300000", "bytes 150000-299999/300000", "", "bytes x", "bytes 1-2/3"])
def test_a_part_that_begins_elsewhere_ends_after_some_starts(publisher, tmp_path, told):
    file = publisher.files["a"] = Published(CONTENT, breaks=[100_000] * 100, told=told or " ")
    with pytest.raises(DownloadError, match=r"was asked for bytes from \d+ on, and gives"):
        fetch(publisher.url("a"), tmp_path, "it")
    assert len(publisher.requests) < 4 * download.ATTEMPTS
    assert file.breaks and names(tmp_path) in ([], [".a.partial", ".a.partial.json"])


def test_a_part_that_nobody_asked_for(publisher, tmp_path):
    publisher.files["a"] = Published(CONTENT[5:], told="bytes 5-299999/300000!")
    with pytest.raises(DownloadError, match=r"a part of the file \(bytes 5-299999/300000\) that was not asked for"):
        fetch(publisher.url("a"), tmp_path, "it")
    assert len(publisher.requests) == 1 and not (tmp_path / "a").exists()


def test_a_host_that_breaks_off_at_the_same_place_for_ever(publisher, tmp_path):
    publisher.files["a"] = Published(CONTENT, ranges=False, breaks=[100_000, 66_000] * 100)
    with pytest.raises(DownloadError, match="cannot fetch it"):
        fetch(publisher.url("a"), tmp_path, "it")
    assert len(publisher.requests) <= 2 * download.ATTEMPTS


@pytest.mark.parametrize("address", ["file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://x/y"])
def test_other_ways_than_http(publisher, tmp_path, address, waits):
    with pytest.raises(DownloadError, match="neither http nor https"):
        fetch(address, tmp_path, "it")
    publisher.files["a"] = Published(CONTENT, redirect=address)
    with pytest.raises(DownloadError, match="cannot fetch it") as problem:
        fetch(publisher.url("a"), tmp_path, "it")
    assert len(publisher.requests) == 1 and not waits and "\n" not in str(problem.value)
    assert not (tmp_path / "a").exists()


def test_redirects_without_end(publisher, tmp_path, waits):
    publisher.files["a"] = Published(CONTENT, redirect=publisher.url("a"))
    with pytest.raises(DownloadError, match="cannot fetch it"):
        fetch(publisher.url("a"), tmp_path, "it")
    assert not waits


def test_a_resolver_that_does_not_answer_is_not_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(download, "LOOK_UP_SECONDS", 0.1)
    answer = threading.Event()
    monkeypatch.setattr(download.socket, "getaddrinfo", lambda *_: answer.wait(5))
    with pytest.raises(DownloadError, match=r"the name nowhere.test was not found within 0.1 seconds"):
        fetch("http://nowhere.test/x.bin", tmp_path, "x")
    answer.set()
