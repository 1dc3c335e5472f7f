"""The server behind a real socket: hard docids, slow and many clients, its end, and the command itself."""

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
from concurrent.futures import ThreadPoolExecutor

import pytest

pytest.importorskip("uvicorn")
pytest.importorskip("prometheus_client")
from tests.conftest import run
from tests.serve.running import running

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def port(indexes):
    with running(indexes, seconds=1.0, connections=20) as (port, _):
        yield port


def get(port, path, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    return answer.status, answer.read(), answer.headers


def until(condition, seconds=60):
    """Return what a condition gives when it holds; fail where it takes longer."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def get_when_free(port, path):
    """Answer of a server that may not have noticed yet who has gone, which until then is 503."""
    return until(lambda: (answer := get(port, path))[0] != 503 and answer)


def test_documents_of_any_docid(port, documents):
    for docid, document in documents.items():
        if docid.isalnum() and docid != "d7":
            continue
        quoted = urllib.parse.quote(docid, safe="")
        # Pyserini's server decodes twice, so its clients may encode twice; where it makes no difference, ours may be.
        for path in (quoted, urllib.parse.quote(quoted, safe="")):
            status, body, _ = get(port, f"/v1/notes/doc/{path}")
            shown = document if document["title"] else document["text"]
            assert (status, json.loads(body)) == (200, {"api": "v1", "index": "notes", "docid": docid, "doc": shown})
    assert get(port, "/v1/notes/doc/" + urllib.parse.quote("no 'such\" #%/ document", safe=""))[0] == 404


def test_no_header_names_the_server(port):
    assert "server" not in get(port, "/health")[2]


def test_the_listener_is_known_as_tcp():
    """Else asyncio leaves Nagle's algorithm on, and each answer comes 40 ms late."""
    from pyserini_jpq.serve.options import ServerOptions
    from pyserini_jpq.serve.server import _listening

    with _listening(ServerOptions(port=0)) as listener:
        assert listener.proto == socket.IPPROTO_TCP


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET /heal",
        b"GET /health HTTP/1.1\r\nHost: x\r\n",
        b"POST /v1/notes/search HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{",
        b"POST /v1/notes/search HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n",
        b"GET /health HTTP/1.1\r\nHost: x\r\n\r\nGET /health HTTP/1.1\r\n",
        b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n\r\n",
        b"\r\n",
    ],
)
def test_a_slow_request_is_ended(port, sent):
    with socket.create_connection(("127.0.0.1", port), timeout=15) as connection:
        started = time.monotonic()
        connection.sendall(sent)
        with_trickle = not sent.startswith(b"POST")
        answer = b""
        try:
            while part := connection.recv(1000):
                answer += part
                if with_trickle:
                    connection.sendall(b"")
        except ConnectionResetError:
            pass
        assert 0.5 < time.monotonic() - started < 12
        assert b"Traceback" not in answer


def test_nonsense_is_400(port):
    for sent in (
        b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
        b"GET /health HTTP/1.1\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nHost: other\r\n\r\n",
        b"POST /v1/notes/search HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
        b"POST /v1/notes/search HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n",
    ):
        with (
            socket.create_connection(("127.0.0.1", port), timeout=15) as connection,
            contextlib.suppress(ConnectionError),
        ):
            connection.sendall(sent)
            assert connection.recv(100).startswith(b"HTTP/1.1 400")
    assert get_when_free(port, "/health")[0] == 200


def test_what_is_sent_besides_a_body_has_a_limit(port):
    with socket.create_connection(("127.0.0.1", port), timeout=15) as connection:
        connection.sendall(b"POST /v1/notes/search HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n")
        with pytest.raises(ConnectionError):
            for _ in range(20_000):
                connection.sendall(b"X-Trailer: " + b"a" * 1000 + b"\r\n")
    body = b"".join(b"400\r\n" + b" " * 1024 + b"\r\n" for _ in range(500)) + b"2\r\n{}\r\n0\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=15) as connection:
        connection.sendall(b"POST /v1/notes/search HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        connection.sendall(body)
        answer = b""
        while b"queries" not in answer:  # it was read whole, and asks for nothing
            part = connection.recv(10_000)
            assert part, answer
            answer += part


def test_requests_that_do_not_wait_for_answers_have_a_limit(port):
    request = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
    for sent, least, most in ((10, 10, 10), (3000, 0, 100)):
        with socket.create_connection(("127.0.0.1", port), timeout=3) as connection:
            answers = b""
            with contextlib.suppress(OSError):
                connection.sendall(sent * request)
                while part := connection.recv(1 << 16):
                    answers += part
            assert least <= answers.count(b"HTTP/1.1 200") <= most
    assert get_when_free(port, "/health")[0] == 200


def test_who_goes_away_or_breaks_off_is_no_fault_of_ours(port, capfd):
    head = b"POST /v1/notes/search HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{"
    search = b"GET /v1/notes/search?query=bado HTTP/1.1\r\nHost: localhost\r\n\r\n"
    for sent in [head, search + b"nonsense", search + search, search + b"a" * 100_000] * 5:
        with socket.create_connection(("127.0.0.1", port), timeout=15) as connection:
            connection.sendall(sent)
    until(lambda: b'status="499"' in get_when_free(port, "/metrics")[1])
    assert get_when_free(port, "/health")[0] == 200
    assert "fault" not in capfd.readouterr().err


def test_many_connections_are_told_to_come_again(port):
    opened = [socket.create_connection(("127.0.0.1", port), timeout=15) for _ in range(40)]
    try:
        time.sleep(0.2)
        told = 0
        for connection in opened:
            connection.settimeout(10)
            try:
                told += connection.recv(100).startswith(b"HTTP/1.1 503")
            except ConnectionResetError:
                told += 1
        assert told >= 20
    finally:
        for connection in opened:
            connection.close()
    assert get_when_free(port, "/health")[0] == 200


def test_a_client_that_does_not_take_its_answers_is_ended(indexes, notes):
    vectors = json.dumps({"vectors": [[0.1] * 32] * 30, "hits": 300}).encode()
    request = b"POST /v1/notes/search HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(vectors) + vectors
    with running(indexes, seconds=1.0) as (port, server), socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", port))
        connection.settimeout(20)
        with contextlib.suppress(ConnectionError):
            connection.sendall(10 * request)  # of answers, more than the buffers of the system hold
        for is_there in (True, False):  # it is taken, then given up
            until(lambda there=is_there: bool(server.server_state.connections) is there)
        answers = 0
        with contextlib.suppress(ConnectionError):
            while part := connection.recv(1 << 20):
                answers += part.count(b"HTTP/1.1 ")
        assert answers < 10


def test_what_runs_is_answered_when_the_server_ends(indexes):
    batches, go = indexes["notes"]._batches["jpq"], threading.Event()
    right = batches._search
    batches._search = lambda *asked: go.wait(20) and right(*asked)
    try:
        with ThreadPoolExecutor(5) as pool:
            with running(indexes) as (port, server):
                answers = [pool.submit(get, port, f"/v1/notes/search?query=bado+{i}") for i in range(4)]
                until(lambda: len(server.server_state.tasks) >= 4, 20)
                server.handle_exit(signal.SIGTERM, None)
                time.sleep(0.3)
                with pytest.raises(OSError):
                    get(port, "/health")
                go.set()
            assert [answer.result()[0] for answer in answers] == [200] * 4
    finally:
        batches._search = right


def test_the_command(notes, documents, tmp_path):
    """It says where it serves, answers as the index does without a JVM, and ends in good order."""
    command = [sys.executable, "-m", "pyserini_jpq.serve", f"mine={notes.path}", "--port", "0", "--threads", "1"]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=os.environ)
    try:
        line = server.stderr.readline()
        port = int(re.fullmatch(r"serving mine at http://127.0.0.1:(\d+)/\n", line)[1])
        query = documents["d7"]["text"]
        status, body, _ = get(port, "/v1/mine/search?" + urllib.parse.urlencode({"query": query}))
        hits = notes.search(query)
        found = [(one["docid"], one["score"]) for one in json.loads(body)["candidates"]]
        assert status == 200 and found == [(hit.docid, pytest.approx(hit.score, abs=2e-6)) for hit in hits]
        assert get(port, "/health", Host="evil.example")[0] == 400
        with open(f"/proc/{server.pid}/maps") as maps:
            assert "libjvm" not in maps.read()
    finally:
        server.send_signal(signal.SIGTERM)
        assert server.wait(120) == 0
    assert server.stderr.read() == "stopped\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere/index"], "nowhere/index"),
        (["a=NOTES", "a=NOTES"], "two are named a"),
        (["a/b=NOTES"], "cannot be named"),
        (["=NOTES"], "give NAME=PLACE"),
        (["NOTES", "--lucene", "other=x"], "no index has this name"),
        (["--port", "99999", "NOTES"], "65535"),
        (["NOTES", "--host", "nowhere.invalid"], "cannot listen"),
        (["NOTES", "--api-keys", "nowhere"], "nowhere"),
        (["NOTES", "--seconds", "0"], "above 0"),
    ],
)
def test_wrong_words_are_one_line(notes, words, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run("serve", "--port", 0, *(word.replace("NOTES", str(notes.path)) for word in words)) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert said in line
