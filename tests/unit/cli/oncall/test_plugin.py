"""`kubectl lastgood`, against a small server that answers as the API server does and keeps what it was asked."""

import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from lastgood.api.names import EMERGENCY, QUARANTINE, RESUME, ROLLBACK
from lastgood.cli.oncall import tables
from lastgood.cli.oncall.plugin import main

API = "/apis/lastgood.dev/v1alpha1"
TIME = r" \(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\)"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def ago(**time: float) -> str:
    return (NOW - timedelta(**time)).isoformat()


DIGITS: dict[str, Any] = {
    "metadata": {"name": "digits", "namespace": "ml"},
    "spec": {"model": "digits", "snapshot": "digits-v3"},
    "status": {
        "snapshot": "digits-v2",
        "lastKnownGood": "digits-v1",
        "conditions": [
            {"type": "Healthy", "status": "True", "reason": "AllTriggersHealthy", "message": "all is well"},
            {"type": "Ready", "status": "False", "reason": "Held", "message": "held\x1b[2J by rb-2"},
        ],
        "history": [
            {"snapshot": "digits-v1", "digest": "sha256:" + "1" * 64, "since": ago(days=3), "until": ago(hours=2)},
            {"snapshot": "digits-v2", "digest": "sha256:" + "2" * 64, "since": ago(hours=2), "by": "rb-2"},
        ],
        "rollbacks": [
            {"name": "rb-1", "at": ago(days=2), "automatic": False, "outcome": "Failed"},
            {"name": "rb-2", "at": ago(hours=2), "automatic": True, "outcome": "Succeeded"},
        ],
    },
}


@dataclass(kw_only=True)
class Api:
    """What the server holds, and the patches it got."""

    objects: dict[str, dict[str, Any]]
    kubeconfig: Path
    fail: int = 0
    patches: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)

    def call(self, *arguments: str) -> int:
        try:
            return main([*arguments, "--kubeconfig", str(self.kubeconfig)])
        except SystemExit as left:
            return int(str(left.code))

    def annotation(self) -> tuple[str, str, str]:
        """Return path, key and value of the only patch, without its time."""
        ((path, kind, body),) = self.patches
        assert kind == "application/merge-patch+json"
        ((key, value),) = body["metadata"]["annotations"].items()
        assert re.search(TIME + "$", value)
        return path, key, re.sub(TIME + "$", "", value)


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    path = f"{API}/namespaces/ml/modeldeployments"
    objects: dict[str, dict[str, Any]] = {
        path: {"items": [DIGITS]},
        f"{API}/modeldeployments": {"items": [DIGITS]},
        f"{API}/namespaces/empty/modeldeployments": {"items": []},
        f"{path}/digits": DIGITS,
        f"{API}/namespaces/ml/modelsnapshots/digits-v3": {},
    }
    world = Api(objects=objects, kubeconfig=tmp_path / "kubeconfig")
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(world))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    world.kubeconfig.write_text(kubeconfig(server.server_port))
    yield world
    server.shutdown()
    thread.join()
    server.server_close()


def kubeconfig(port: int) -> str:
    def context(name: str, namespace: str) -> dict[str, Any]:
        return {"name": name, "context": {"cluster": "c", "user": "u", "namespace": namespace}}

    return yaml.safe_dump(
        {
            "current-context": "one",
            "contexts": [context("one", "ml"), context("two", "empty")],
            "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
            "users": [{"name": "u", "user": {}}],
        }
    )


def handler(world: Api) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = world.objects.get(self.path)
            self.answer(world.fail or (200 if found is not None else 404), found or {})

        def do_PATCH(self) -> None:
            path, _, query = self.path.partition("?")
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            assert query == "fieldManager=kubectl-lastgood"
            world.patches.append((path.removeprefix(API), self.headers["Content-Type"], body))
            self.answer(world.fail or (200 if path in world.objects else 404), {})

        def answer(self, code: int, body: dict[str, Any]) -> None:
            text = json.dumps(body).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: Any) -> None:
            return

    return Handler


def test_rollback_writes_the_reason(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    assert api.call("rollback", "digits", "--reason", "accuracy fell") == 0
    assert api.annotation() == ("/namespaces/ml/modeldeployments/digits", ROLLBACK, "accuracy fell")
    assert "watch it: kubectl get modelrollbacks -n ml --watch" in capsys.readouterr().out


def test_rollback_to_a_snapshot(api: Api) -> None:
    assert api.call("rollback", "digits", "--reason", "accuracy fell", "--to", "digits-v1") == 0
    assert api.annotation()[2] == "to=digits-v1: accuracy fell"


def test_same_words_twice_are_two_requests(api: Api) -> None:
    for _ in range(2):
        assert api.call("rollback", "digits", "--reason", "again") == 0
    assert api.patches[0] != api.patches[1]


def test_emergency_text_goes_as_it_is(api: Api) -> None:
    assert api.call("emergency", "digits", "to=digits-v0:", "INC-1234: backdoor", "in v3") == 0
    path, key, value = api.annotation()
    assert (path, key) == ("/namespaces/ml/modeldeployments/digits", EMERGENCY)
    assert value == "to=digits-v0: INC-1234: backdoor in v3"


def test_quarantine_goes_to_the_snapshot(api: Api) -> None:
    assert api.call("quarantine", "digits-v3", "INC-1: backdoor") == 0
    assert api.annotation() == ("/namespaces/ml/modelsnapshots/digits-v3", QUARANTINE, "INC-1: backdoor")


def test_resume(api: Api) -> None:
    assert api.call("resume", "digits", "it was", "a false alarm") == 0
    assert api.annotation()[1:] == (RESUME, "it was a false alarm")


def test_status_shows_what_serves_and_what_would(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    assert api.call("status") == 0
    header, row = capsys.readouterr().out.splitlines()
    assert re.split(r" {3,}", header) == list(tables.STATUS)
    assert re.split(r" {3,}", row)[:6] == ["digits", "digits", "digits-v2", "digits-v3", "True", "digits-v1"]
    assert "Succeeded " in row


def test_status_of_all_namespaces_names_them(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    assert api.call("status", "-A") == 0
    assert capsys.readouterr().out.splitlines()[1].startswith("ml   ")


def test_status_of_one_tells_why_and_prints_no_escape_sequences(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    assert api.call("status", "digits") == 0
    text = capsys.readouterr().out
    assert "Held" in text
    assert "held\\x1b[2J by rb-2" in text


def test_status_of_an_empty_namespace_says_so(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    assert api.call("status", "--context", "two") == 0
    assert capsys.readouterr().out == "no modeldeployments in empty\n"


def test_history_is_newest_first(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    assert api.call("history", "digits") == 0
    text = capsys.readouterr().out
    assert text.index("digits-v2") < text.index("digits-v1")
    assert text.index("rb-2  ") < text.index("rb-1  ")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["rollback", "absent", "--reason", "x"], "modeldeployments/absent is not in namespace ml; see `kubectl get"),
        (["quarantine", "digits-v3", "x", "-n", "other"], "modelsnapshots/digits-v3 is not in namespace other"),
        (["status", "-n", "other"], "has no modeldeployments.lastgood.dev; install lastgood's CRDs"),
    ],
)
def test_what_is_missing_is_named(
    api: Api, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert api.call(*arguments) == 1
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("code", "words"), [(403, "you may not patch modeldeployments in namespace ml"), (500, "answered 500")]
)
def test_refusal_is_a_sentence(api: Api, code: int, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    api.fail = code
    assert api.call("emergency", "digits", "INC-1") == 1
    printed = capsys.readouterr()
    assert words in printed.err
    assert printed.out == ""


def test_api_server_that_is_away_is_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    away = Api(objects={}, kubeconfig=tmp_path / "kubeconfig")
    away.kubeconfig.write_text(kubeconfig(1))
    assert away.call("status") == 1
    assert "the API server does not answer" in capsys.readouterr().err
    away.kubeconfig.unlink()
    assert away.call("status") == 1
    assert "--kubeconfig" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["rollback", "digits"], "--reason"),
        (["rollback", "digits", "--reason", " "], "REASON: is empty"),
        (["rollback", "digits", "--reason", "to=x: y"], "use --to"),
        (["rollback", "digits", "--reason", "INC-1: to=x: y"], "use --to"),
        (["rollback", "digits", "--reason", "x" * 2000], "at most 900"),
        (["rollback", "digits", "--reason", "x", "--to", "../v1"], "--to: must be"),
        (["emergency", "digits"], "INCIDENT"),
        ([], "VERB"),
    ],
)
def test_mistakes_write_nothing(api: Api, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    if arguments:
        assert api.call(*arguments) == 2
    else:
        with pytest.raises(SystemExit):
            main([])
    assert words in capsys.readouterr().err
    assert api.patches == []


@pytest.mark.parametrize(
    ("time", "text"),
    [
        (ago(seconds=5), "5s ago"),
        (ago(minutes=5), "5m0s ago"),
        (ago(hours=26), "1d2h ago"),
        (ago(seconds=-9), "0s ago"),
        ("", ""),
        ("soon", ""),
    ],
)
def test_ages(time: str, text: str) -> None:
    assert tables.age(time, NOW) == text


def test_row_of_a_nonsense_object_is_empty() -> None:
    body = {"metadata": 1, "spec": [], "status": {"rollbacks": "x", "conditions": [1]}}
    assert set(tables.status_row(body, NOW)) == {""}
