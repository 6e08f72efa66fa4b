"""Scene descriptions from an endpoint: a server on this machine that speaks the protocol."""

import contextlib
import itertools
import json
import os
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from harness.core.errors import DataError, UsageError
from harness.datasets import prompts
from harness.datasets.prompts import chat_client, endpoint, request_text

ROOT = Path(__file__).parents[2]
KEY = "sk-test-9f31c0ffee"
CLASSES = ["tench", "great white shark", "cup", "Ölkännchen"]
SWIFT = chat_client.Patience(in_flight=1, timeout_s=5, asks=3, retries=2, pause_s=0.01)
# Sixteen words (fifteen and the number), another for each number.
LINE = "A {} number {} in a wide and quiet place on a clear morning in the spring"


def lines(name, count=10):
    return [LINE.format(name, n) for n in range(count)]


def completion(text):
    return {"choices": [{"index": 0, "message": {"role": "assistant", "content": text}}]}


def good(name):
    return 200, completion("\n".join(f"{n}. {line}" for n, line in enumerate(lines(name), 1)))


class Server(ThreadingHTTPServer):
    """answers(name, n): status, body (dict or bytes) and headers of the n-th request for a class.

    requests: (class, headers, body) as they came.
    """

    daemon_threads = True

    def __init__(self, answers=lambda name, n: good(name)):
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers, self.requests, self.lock = answers, [], threading.Lock()
        self.busy = self.busiest = 0

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/v1"

    @property
    def asked(self):
        return [name for name, _, _ in self.requests]


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        name = body["messages"][0]["content"].split('"')[1]
        with server.lock:
            n = server.asked.count(name)
            server.requests.append((name, dict(self.headers), {"path": self.path, **body}))
            server.busy += 1
            server.busiest = max(server.busiest, server.busy)
        status, content, *headers = server.answers(name, n)
        with server.lock:
            server.busy -= 1
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        try:
            self.send_response(status)
            for field, value in {"Content-Length": len(data), **(headers or [{}])[0]}.items():
                self.send_header(field, str(value))
            self.end_headers()
            self.wfile.write(data)
        except OSError:  # whoever asked did not wait
            pass

    def log_message(self, *_):
        pass


@pytest.fixture
def serve(monkeypatch):
    """serve(answers) -> a running Server."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    servers = []

    def start(*answers):
        servers.append(Server(*answers))
        thread = threading.Thread(target=servers[-1].serve_forever, args=(0.01,), daemon=True)
        thread.start()
        return servers[-1]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def fetch(server, out, classes=CLASSES, **settings):
    settings = {"patience": SWIFT, "key": KEY, "bars": False, **settings}
    return endpoint.fetch(classes, out, dataset="ImageNet-LT", endpoint=server.url, **settings)


def first_then_good(*first):
    """Answers to the first requests of every class; good ones after."""
    return lambda name, n: first[n] if n < len(first) else good(name)


def assert_whole(out, classes=CLASSES):
    found = prompts.read(out, classes, "ImageNet-LT")
    assert found.of == {name: tuple(lines(name)) for name in classes}
    assert list(found.of) == list(classes)
    assert not out.with_name(f"{out.name}.part").exists()
    return found


# ---------------------------------------------------------------- what is asked


def test_good_answers_are_stored(serve, tmp_path):
    server, out = serve(), tmp_path / "prompts.json"
    assert fetch(server, out) == {}
    source = dict(assert_whole(out).source)
    assert len(source.pop("date").split("-")) == 3
    model = "gpt-3.5-turbo-0125"
    assert source == {"kind": "endpoint", "endpoint": server.url, "model": model}
    assert sorted(server.asked) == sorted(CLASSES)


def test_the_request(serve, tmp_path):
    server = serve()
    fetch(server, tmp_path / "p.json", ["great_white_shark"], model="other-model")
    ((_, headers, body),) = server.requests
    assert body.pop("path") == "/v1/chat/completions"
    assert headers["Authorization"] == f"Bearer {KEY}"
    assert headers["Content-Type"] == "application/json"
    assert set(body) == {"model", "messages"}
    assert body["model"] == "other-model"
    (message,) = body["messages"]
    assert message["role"] == "user"
    text = message["content"]
    assert text.endswith("\nprompt1\nprompt2")
    for wanted in (
        *("10 descriptions", "random scenes", 'only the class "great white shark"'),
        *("data set ImageNet-LT", "differ from each other", "at least 15 words"),
        "guide Stable Diffusion",
    ):
        assert wanted in text


def test_without_a_key_none_is_sent(serve, tmp_path):
    server = serve()
    assert fetch(server, tmp_path / "p.json", key=None) == {}
    assert all("Authorization" not in headers for _, headers, _ in server.requests)


def test_several_requests_are_in_flight_but_not_more(serve, tmp_path):
    three = threading.Barrier(3)

    def answers(name, n):
        three.wait(20)  # breaks, and with it the answer, unless three wait here at once
        return good(name)

    server, names = serve(answers), [f"class {n}" for n in range(12)]
    patience = chat_client.Patience(in_flight=3, timeout_s=30)
    fetch(server, tmp_path / "p.json", names, patience=patience)
    assert server.busiest == 3
    assert_whole(tmp_path / "p.json", names)


def test_a_class_named_twice_is_asked_once(serve, tmp_path):
    server = serve()
    fetch(server, tmp_path / "p.json", ["cup", "tench", "cup"])
    assert sorted(server.asked) == ["cup", "tench"]


# ---------------------------------------------------------------- which answers count


@pytest.mark.parametrize(
    ("answer", "usable", "why"),
    [
        ("\n".join(lines("fox")), lines("fox"), "10 usable lines of 10"),
        ("\n\n".join(f"{n}. {t}" for n, t in enumerate(lines("fox"), 1)), lines("fox"), "of 10"),
        ("\n".join(f"  prompt{n}: {t}\r" for n, t in enumerate(lines("fox"))), lines("fox"), ""),
        ("\n".join(lines("fox", 12)), lines("fox", 10), "12 usable lines of 12"),
        ("Here they are:\n" + "\n".join(lines("fox")), lines("fox"), "(1 shorter than 15 words"),
        ("\n".join(lines("fox", 9) + lines("fox", 1)), lines("fox", 9), "1 repeated"),
        ("\n".join([lines("a")[0], lines("A")[0]]), lines("a", 1), "1 repeated"),
        ("5.5 " + lines("fox")[0], ["5.5 " + lines("fox")[0]], ""),
        (" ".join(["word"] * 15), [" ".join(["word"] * 15)], "0 shorter"),
        ("1. " + " ".join(["word"] * 14), [], "0 usable lines of 1 (1 shorter than 15 words"),
        ("", [], "0 usable lines of 0"),
    ],
)
def test_lines_of_an_answer(answer, usable, why):
    found, said = request_text.sentences(answer)
    assert found == usable
    assert why in said


@pytest.mark.parametrize(
    "answer",
    [
        (200, completion("\n".join(lines("fox", 8)))),
        (200, completion("\n".join(lines("fox", 8) + lines("fox", 2)))),
        (200, completion("I am sorry, I cannot help with that.")),
        (200, completion(None)),
        (200, completion("")),
        (200, {"choices": []}),
        (200, [1]),
        (200, b"<html>busy</html>"),
        (200, b""),
        (200, b"\xff\xfe"),
        (200, b"[" * 100_000),
    ],
    ids=str,
)
def test_an_invalid_answer_is_asked_again(serve, tmp_path, answer):
    server = serve(first_then_good(answer))
    assert fetch(server, tmp_path / "p.json", ["fox"]) == {}
    assert server.asked == ["fox", "fox"]
    assert_whole(tmp_path / "p.json", ["fox"])


def test_nine_lines_are_enough(serve, tmp_path):
    server = serve(lambda name, n: (200, completion("\n".join(lines(name, 9)))))
    assert fetch(server, tmp_path / "p.json", ["fox"]) == {}
    assert server.asked == ["fox"]
    assert prompts.read(tmp_path / "p.json").of["fox"] == tuple(lines("fox", 9))


def test_a_class_without_valid_answers_is_told_and_the_others_kept(serve, tmp_path):
    def answers(name, n):
        return (200, completion("\n".join(lines(name, 3)))) if name == "cup" else good(name)

    server, out = serve(answers), tmp_path / "p.json"
    failed = fetch(server, out)
    assert failed == {
        "cup": "3 usable lines of 3 (0 shorter than 15 words, 0 repeated); asked 3 times"
    }
    assert server.asked.count("cup") == 3
    others = [name for name in CLASSES if name != "cup"]
    assert_whole(out, others)
    with pytest.raises(DataError, match="lack class 'cup'"):
        prompts.read(out, CLASSES)
    server.answers, server.requests = (lambda name, n: good(name)), []
    assert fetch(server, out) == {}
    assert server.asked == ["cup"]
    assert_whole(out)


def test_garbage_for_all_classes_ends_the_call(serve, tmp_path):
    server = serve(lambda name, n: (200, b"{"))
    names = [f"class {n}" for n in range(20)]
    with pytest.raises(
        DataError, match=r"no valid answer for 8 classes in a row.*damaged answer, not JSON"
    ):
        fetch(server, tmp_path / "p.json", names)
    assert 8 <= len(set(server.asked)) < 20


# ---------------------------------------------------------------- what goes wrong on the way


@pytest.mark.parametrize("status", [500, 502, 503, 429, 408])
def test_what_may_pass_is_tried_again(serve, tmp_path, status):
    server = serve(first_then_good((status, b"busy"), (status, {"error": {"message": "busy"}})))
    assert fetch(server, tmp_path / "p.json", ["fox"]) == {}
    assert server.asked == ["fox"] * 3


def test_it_waits_longer_each_time_and_as_long_as_asked(serve, tmp_path):
    at = []

    def answers(name, n):
        at.append(time.monotonic())
        headers = {"Retry-After": "0.7"} if n == 2 else {}
        return (429, b"", headers) if n < 3 else good(name)

    patience = chat_client.Patience(in_flight=1, timeout_s=5, retries=3, pause_s=0.1)
    assert fetch(serve(answers), tmp_path / "p.json", ["fox"], patience=patience) == {}
    waits = [b - a for a, b in itertools.pairwise(at)]
    assert len(waits) == 3
    assert all(w >= least for w, least in zip(waits, (0.1, 0.2, 0.7), strict=True))


def test_retries_end(serve, tmp_path):
    server = serve(lambda name, n: (500, {"error": {"message": "out of order"}}))
    failed = fetch(server, tmp_path / "p.json", ["fox"])
    assert failed == {"fox": "HTTP 500 Internal Server Error: out of order; tried 3 times"}
    assert len(server.asked) == 3


def test_a_wrong_key_ends_the_call_at_once(serve, tmp_path):
    said = f"Incorrect API key provided: {KEY[:7]}***. Key {KEY}."
    server = serve(lambda name, n: (401, {"error": {"message": said}}))
    with pytest.raises(DataError, match=r"v1: HTTP 401 Unauthorized: wrong key$") as error:
        fetch(server, tmp_path / "p.json")
    assert len(server.asked) == 1
    assert "sk-" not in str(error.value)
    with pytest.raises(DataError, match="HTTP 401 Unauthorized: no key was sent"):
        fetch(server, tmp_path / "p.json", key=None)


def test_a_key_at_the_end_of_a_long_message_is_not_cut_but_hidden(serve, tmp_path):
    server = serve()
    for length in range(180, 200):  # messages are shortened to 200 characters
        said = f"{'x' * length}{KEY} y".encode()
        server.answers = lambda name, n, said=said: (404, said)
        with pytest.raises(DataError, match="HTTP 404 Not Found: xxx") as error:
            fetch(server, tmp_path / "p.json")
        assert KEY[:2] not in str(error.value)


def test_half_characters_do_no_harm(serve, tmp_path):
    def answers(name, n):
        text = "\n".join(f"{line} \\ud83e" for line in lines(name))
        data = json.dumps(completion(text)).replace("\\\\ud83e", "\\ud83e").encode()
        return (200, data) if name == "fox" else (400, b'{"error": {"message": "\\ud83e"}}')

    out = tmp_path / "p.json"
    assert fetch(serve(answers), out, ["fox", "cup"]) == {"cup": "HTTP 400 Bad Request: ?"}
    assert prompts.read(out).of["fox"] == tuple(f"{line} ?" for line in lines("fox"))


@pytest.mark.parametrize("status", [403, 404, 405])
def test_what_will_not_pass_ends_the_call(serve, tmp_path, status):
    said = f"The model is not there for {KEY}"
    server = serve(lambda name, n: (status, {"error": {"message": said}}))
    with pytest.raises(DataError, match=rf"HTTP {status} .*: The model is not there for \*\*\*$"):
        fetch(server, tmp_path / "p.json")
    assert len(server.asked) == 1


def test_a_refused_class_does_not_stop_the_others(serve, tmp_path):
    refusal = 400, {"error": {"message": "content filter"}}
    server = serve(lambda name, n: refusal if name == "cup" else good(name))
    failed = fetch(server, tmp_path / "p.json")
    assert failed == {"cup": "HTTP 400 Bad Request: content filter"}
    assert server.asked.count("cup") == 1
    assert len(prompts.read(tmp_path / "p.json").of) == 3


def test_a_redirect_is_not_followed(serve, tmp_path):
    other = serve()
    server = serve(lambda name, n: (302, b"", {"Location": f"{other.url}/chat/completions"}))
    with pytest.raises(DataError, match=f"HTTP 302 Found: it moved to {other.url}"):
        fetch(server, tmp_path / "p.json", ["fox"])
    assert other.requests == []


def test_nobody_there(tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
        start = time.monotonic()
        with pytest.raises(DataError, match=rf"{url}: cannot be reached: .*refused"):
            endpoint.fetch(CLASSES, tmp_path / "p.json", dataset="d", endpoint=url, bars=False)
        assert time.monotonic() - start < 5  # the first retry alone would wait, five 31 s


def test_a_slow_answer_is_asked_for_again(serve, tmp_path):
    wait = threading.Event()

    def answers(name, n):
        if n == 0:
            wait.wait(10)
        return good(name)

    server = serve(answers)
    patience = chat_client.Patience(in_flight=1, timeout_s=1, retries=1, pause_s=0.01)
    assert fetch(server, tmp_path / "p.json", ["fox"], patience=patience) == {}
    assert len(server.asked) == 2
    server.answers = lambda name, n: (wait.wait(10), good(name))[1]
    failed = fetch(server, tmp_path / "p.json", ["cup"], patience=patience)
    assert failed == {"cup": "no answer within 1 s; tried 2 times"}
    wait.set()


def test_an_answer_cut_short_is_asked_for_again(serve, tmp_path):
    cut = (200, json.dumps(good("fox")[1]).encode()[:200], {"Content-Length": 5000})
    server = serve(first_then_good((*cut[:2], {**cut[2], "Connection": "close"})))
    assert fetch(server, tmp_path / "p.json", ["fox"]) == {}
    assert len(server.asked) == 2


# ---------------------------------------------------------------- going on


def test_after_an_error_only_the_rest_is_asked_for(serve, tmp_path):
    def answers(name, n):
        return good(name) if name in CLASSES[:2] else (403, b"quota")

    server, out = serve(answers), tmp_path / "p.json"
    with pytest.raises(DataError, match="HTTP 403 Forbidden: quota"):
        fetch(server, out)
    assert server.asked == CLASSES[:3]
    assert not out.exists()
    server.answers, server.requests = (lambda name, n: good(name)), []
    assert fetch(server, out) == {}
    assert server.asked == CLASSES[2:]
    assert_whole(out)
    server.requests = []
    whole = out.read_bytes()
    assert fetch(server, out) == {}
    assert server.asked == []
    assert out.read_bytes() == whole


SCRIPT = """
import signal, sys
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where tests run in background
from harness.datasets.prompts import chat_client, endpoint
out, url, names = Path(sys.argv[1]), sys.argv[2], sys.argv[3].split(",")
key = chat_client.key_from_environment("TEST_KEY")
endpoint.fetch(names, out, dataset="ImageNet-LT", endpoint=url, key=key, bars=False,
               patience=chat_client.Patience(in_flight=2))
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_call_goes_on(serve, tmp_path, how):
    names, hold = [f"class {n}" for n in range(10)], threading.Event()

    def answers(name, n):
        if int(name.split()[1]) >= 5:
            hold.wait(20)
        return good(name)

    server, out = serve(answers), tmp_path / "p.json"
    arguments = [sys.executable, "-c", SCRIPT, str(out), server.url, ",".join(names)]
    environment = {**os.environ, "no_proxy": "127.0.0.1", "TEST_KEY": KEY}
    with subprocess.Popen(arguments, cwd=ROOT, env=environment, stderr=subprocess.PIPE) as run:
        end = time.monotonic() + 60
        while len(server.asked) < 7 and time.monotonic() < end:
            time.sleep(0.02)
        run.send_signal(how)
        time.sleep(0.5)
        hold.set()
        _, said = run.communicate(timeout=60)
    assert run.returncode != 0
    assert KEY.encode() not in said
    # Interrupted, the two under way are waited for and kept; killed, they are lost.
    begun = set(server.asked)
    assert begun >= set(names[:7])
    assert len(begun) < 10
    kept = begun if how == signal.SIGINT else names[:5]
    assert not out.exists()
    server.answers, server.requests = (lambda name, n: good(name)), []
    assert fetch(server, out, names) == {}
    assert sorted(server.asked) == sorted(set(names) - set(kept))
    assert_whole(out, names)


def part_of(server, tmp_path):
    """A journal with the answers for tench and great white shark."""
    out = tmp_path / "p.json"
    server.answers = lambda name, n: good(name) if name in CLASSES[:2] else (403, b"")
    with pytest.raises(DataError):
        fetch(server, out)
    server.answers, server.requests = (lambda name, n: good(name)), []
    return out, tmp_path / "p.json.part"


@pytest.mark.parametrize("left", [1, 40, 150])
def test_a_line_cut_short_is_asked_for_again(serve, tmp_path, left):
    server = serve()
    out, part = part_of(server, tmp_path)
    *head, last = part.read_bytes().splitlines(keepends=True)
    part.write_bytes(b"".join(head) + last[:left])
    assert fetch(server, out) == {}
    assert server.asked == CLASSES[1:]
    assert_whole(out)


def test_a_header_cut_short_begins_anew(serve, tmp_path):
    server = serve()
    out, part = part_of(server, tmp_path)
    part.write_bytes(part.read_bytes()[:20])
    assert fetch(server, out) == {}
    assert_whole(out)


@pytest.mark.parametrize("line", [b"garbage", b"[1]", b'{"class": "cup"}', b"\xff"])
def test_a_damaged_line_is_named(serve, tmp_path, line):
    server = serve()
    out, part = part_of(server, tmp_path)
    part.write_bytes(part.read_bytes() + line + b"\n")
    with pytest.raises(
        DataError, match=r"p\.json\.part( is damaged: line 4: |, line 4: damaged).*remove that line"
    ):
        fetch(server, out)
    assert server.asked == []


def test_two_models_are_not_mixed(serve, tmp_path):
    server = serve()
    out, _ = part_of(server, tmp_path)
    with pytest.raises(UsageError, match=r"part has prompts of model 'gpt-3.*', not 'other'"):
        fetch(server, out, model="other")
    assert fetch(server, out) == {}
    with pytest.raises(UsageError, match=r"p\.json has prompts of model 'gpt-3.*', not 'other'"):
        fetch(server, out, model="other")
    with pytest.raises(DataError, match="'ImageNet-LT', not of 'iNaturalist 2018'"):
        endpoint.fetch(CLASSES, out, dataset="iNaturalist 2018", endpoint=server.url)
    prompts.write(out, prompts.grammar("ImageNet-LT", CLASSES))
    with pytest.raises(UsageError, match="prompts of kind 'grammar', not 'endpoint'"):
        fetch(server, out)


def test_a_journal_without_answers_binds_nobody(serve, tmp_path):
    wrong, server = serve(lambda name, n: (404, b"")), serve()
    with pytest.raises(DataError, match="HTTP 404"):
        fetch(wrong, tmp_path / "p.json", model="wrong")
    assert fetch(server, tmp_path / "p.json") == {}
    assert assert_whole(tmp_path / "p.json").source["endpoint"] == server.url


def test_two_processes_do_not_share_a_file(serve, tmp_path):
    began, hold = threading.Event(), threading.Event()

    def answers(name, n):
        began.set()
        hold.wait(20)
        return good(name)

    server, out = serve(answers), tmp_path / "p.json"
    first = threading.Thread(target=fetch, args=(server, out))
    first.start()
    assert began.wait(20)
    with pytest.raises(UsageError, match="another process"):
        fetch(server, out)
    hold.set()
    first.join(20)
    assert_whole(out)


# ---------------------------------------------------------------- hostile servers


class Raw(socketserver.ThreadingTCPServer):
    """Writes parts one after the other, with a pause before each, to whoever connects."""

    daemon_threads, allow_reuse_address = True, True

    def __init__(self, parts, pause_s=0.0):
        super().__init__(("127.0.0.1", 0), RawHandler)
        self.parts, self.pause_s = parts, pause_s
        self.url = f"http://127.0.0.1:{self.server_address[1]}/v1"


class RawHandler(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.recv(2**16)
        with contextlib.suppress(OSError):
            for part in self.server.parts:
                time.sleep(self.server.pause_s)
                self.request.sendall(part)


@pytest.fixture
def raw(monkeypatch):
    """raw(parts, pause_s) -> a running Raw."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    servers = []

    def start(*arguments):
        servers.append(Raw(*arguments))
        threading.Thread(target=servers[-1].serve_forever, args=(0.01,), daemon=True).start()
        return servers[-1]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


DRIPPING = chat_client.Patience(in_flight=1, timeout_s=0.6, asks=1, retries=0, pause_s=0.01)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"


@pytest.mark.parametrize(
    "parts",
    [[HEAD, *[b" "] * 1000], [b"HTTP/1.1 200 OK\r\n", *[b"X"] * 1000], [b"", *[b""] * 1000]],
    ids=["body", "headers", "nothing"],
)
def test_a_server_that_drips_bytes_holds_no_request(raw, tmp_path, parts):
    began = time.monotonic()
    failed = fetch(raw(parts, 0.1), tmp_path / "p.json", ["fox"], patience=DRIPPING)
    assert failed == {"fox": "no answer within 0.6 s; tried 1 times"}
    assert time.monotonic() - began < 5


def test_an_endless_answer_is_not_read_to_its_end(raw, tmp_path):
    head = b"HTTP/1.1 200 OK\r\n\r\n"
    server = raw([head, *[b"x" * 2**20] * 1000], 0.001)
    patience = replace(DRIPPING, timeout_s=30)
    failed = fetch(server, tmp_path / "p.json", ["fox"], patience=patience)
    assert "damaged answer" in failed["fox"]


def test_nothing_of_a_redirect_steers_the_terminal(raw, tmp_path):
    location = b"http://a/\x1b[31m" + b"x" * 17_000
    server = raw([b"HTTP/1.1 302 Found\r\nLocation: " + location + b"\r\n\r\n"])
    with pytest.raises(DataError) as error:
        fetch(server, tmp_path / "p.json", ["fox"], patience=DRIPPING)
    assert str(error.value).isprintable()
    assert len(str(error.value)) <= 300


@pytest.mark.parametrize("status", [400, 404, 500])
def test_long_messages_are_cut(serve, tmp_path, status):
    said = {"error": {"message": "\x1b[2Jwrong " * 17_000}}
    server = serve(lambda name, n: (status, said))
    try:
        text = fetch(server, tmp_path / "p.json", ["fox"], patience=DRIPPING)["fox"]
    except DataError as error:
        text = str(error)
    assert text.isprintable()
    assert len(text) <= 300
    assert "wrong" in text


@pytest.mark.parametrize("data", [b"HTTP/1.1 999 \x1b[31m\r\n\r\n", b"\x00" * 100, b"", b"HTTP"])
def test_what_is_no_answer_at_all(raw, tmp_path, data):
    try:
        text = fetch(raw([data]), tmp_path / "p.json", ["fox"], patience=DRIPPING)["fox"]
    except DataError as error:
        text = str(error)
    assert text.isprintable()
    assert len(text) <= 300


def test_sentences_are_bounded_and_printable():
    long = " ".join(["word"] * 300)
    usable, why = request_text.sentences(f"{long}\n{LINE.format('a', 1)}\x1b[31m\n")
    assert usable == [LINE.format("a", 1) + " [31m"]
    assert "1 longer than 1000 characters" in why


# ---------------------------------------------------------------- the key, and wrong requests


def test_the_key_is_in_no_file_and_no_message(serve, tmp_path, capfd):
    def answers(name, n):
        if name == "cup":
            return 400, {"error": {"message": f"no {KEY}"}}
        if name == "tench":
            return 500, f"bad {KEY}".encode()
        if name == "fox":
            return 200, completion("\n".join(f"{line} {KEY}" for line in lines(name)))
        return (200, {KEY: 1}) if n else (200, completion(KEY))

    out = tmp_path / "p.json"
    failed = fetch(serve(answers), out, ["cup", "tench", "fox", "bear"], bars=True)
    assert set(failed) == {"cup", "tench", "bear"}
    assert failed["cup"].endswith("no ***")
    assert prompts.read(out).of["fox"][0].endswith(" ***")
    part_of(serve(), tmp_path / "other")
    seen = [repr(failed).encode(), *(p.read_bytes() for p in tmp_path.rglob("*") if p.is_file())]
    assert len(seen) == 3
    assert not any(KEY.encode() in text for text in seen)
    said = capfd.readouterr()
    assert KEY not in said.out + said.err
    assert "4 of 4" in said.err  # the progress bar


def test_the_key_comes_from_the_environment(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(UsageError, match=r"\$OPENAI_API_KEY, which is not set"):
        chat_client.key_from_environment()
    monkeypatch.setenv("OPENAI_API_KEY", f" {KEY}\n")
    assert chat_client.key_from_environment() == KEY
    monkeypatch.setenv("OTHER", f"{KEY}\nX: y")
    with pytest.raises(UsageError, match=r"\$OTHER is no key") as error:
        chat_client.key_from_environment("OTHER")
    assert KEY not in str(error.value)


@pytest.mark.parametrize("key", ["", "two words", "ключ", "a\r\nb"])
def test_what_cannot_be_a_key(tmp_path, key):
    with pytest.raises(UsageError, match="the key is no key"):
        endpoint.fetch(CLASSES, tmp_path / "p.json", dataset="d", key=key)


@pytest.mark.parametrize(
    "address", ["", "localhost:8000/v1", "ftp://a/v1", "http://", "http://a:x"]
)
def test_what_is_no_endpoint(tmp_path, address):
    with pytest.raises(UsageError, match="an address such as https://api"):
        endpoint.fetch(CLASSES, tmp_path / "p.json", dataset="d", endpoint=address)


@pytest.mark.parametrize("address", ["http://me:pass@a/v1", "https://a/v1?key=pass", "me:pass@a"])
def test_an_address_with_secrets(tmp_path, address):
    with pytest.raises(UsageError) as error:
        endpoint.fetch(CLASSES, tmp_path / "p.json", dataset="d", endpoint=address)
    assert "pass" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_the_full_address_is_the_same_endpoint(serve, tmp_path):
    server = serve()
    address = f"{server.url}/chat/completions/"
    given = {"dataset": "ImageNet-LT", "endpoint": address, "bars": False}
    assert endpoint.fetch(CLASSES, tmp_path / "p.json", **given) == {}
    assert assert_whole(tmp_path / "p.json").source["endpoint"] == server.url


def test_a_wrong_class_name_is_told_before_anything_is_asked(serve, tmp_path):
    server = serve()
    with pytest.raises(UsageError, match="class name '_'"):
        fetch(server, tmp_path / "p.json", ["cup", "_"])
    assert server.asked == []


@pytest.mark.parametrize(
    "wrong", [{"in_flight": 0}, {"asks": 0}, {"retries": -1}, {"timeout_s": 0}, {"pause_s": -1}]
)
def test_patience_has_limits(wrong):
    with pytest.raises(UsageError, match=f"{next(iter(wrong))}: .* is not allowed"):
        chat_client.Patience(**wrong)


def test_a_folder_that_cannot_be_written(serve, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot write"):
        fetch(serve(), tmp_path / "file" / "p.json")
