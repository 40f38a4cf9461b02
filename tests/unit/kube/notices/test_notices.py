"""What people are told: one line of the security log, whatever is in it, and no secret; and Events, in turns."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lastgood.kube.api import redact
from lastgood.kube.api.problems import ApiError, ConflictError, ForbiddenError, InvalidError
from lastgood.kube.api.resources import EVENTS
from lastgood.kube.calm import Calm
from lastgood.kube.notices.events import WAITING, Bucket, Events
from lastgood.kube.notices.notice import EventType, Notice, Notices, Subject
from lastgood.kube.notices.security_log import SecurityLog
from tests.unit.kube.world import Server

SUBJECT = {"kind": "ModelDeployment", "namespace": "ml", "name": "digits", "uid": "u1"}


def entry(**facts: Any) -> dict[str, Any]:
    lines: list[str] = []
    given_: dict[str, Any] = {"what": "rollback.switched", "reason": "Switched", "message": "digits: v3 to v2"}
    fixed = {name: facts.pop(name) for name in ("severity", "message", "record") if name in facts}
    SecurityLog(write=lines.append).tell(Notice(**(given_ | fixed), subject=SUBJECT, facts=facts))
    assert len(lines) == 1
    assert "\n" not in lines[0]
    found: dict[str, Any] = json.loads(lines[0])
    return found


def test_an_entry_says_when_what_why_and_to_what() -> None:
    found = entry(severity="alert", digest="sha256:ab", seconds=0.25)
    assert found["time"].endswith("Z")
    assert found["logger"] == "security"
    assert (found["event"], found["reason"], found["severity"]) == ("rollback.switched", "Switched", "alert")
    assert found["subject"] == SUBJECT
    assert (found["digest"], found["seconds"]) == ("sha256:ab", 0.25)


def test_a_fact_cannot_pose_as_a_fixed_field() -> None:
    found = entry(time="yesterday", logger="nobody", event="nothing")
    assert (found["logger"], found["event"]) == ("security", "rollback.switched")
    assert found["time"] != "yesterday"


def test_forged_log_line_in_a_reason_stays_inside_its_value() -> None:
    found = entry(incident='x"}\n{"logger":"security","event":"all.clear"}')
    assert "\n" not in found["incident"]
    assert found["event"] == "rollback.switched"


def test_terminal_escapes_and_bidi_marks_are_spelled_out() -> None:
    found = entry(incident="\x1b[2Jgone \u202etxt.exe")
    assert found["incident"] == "\\x1b[2Jgone \\u202etxt.exe"


@pytest.mark.parametrize(
    "secret",
    [
        "Authorization: Bearer abcdefghij0123456789",
        "https://user:hunter2abc@metrics.example/x",
        "https://metrics.example/x?token=hunter2abc&y=1",
        "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhYmMifQ.c2lnbmF0dXJlaHVudGVyMmFiYw",
    ],
)
def test_credentials_are_not_written(secret: str) -> None:
    found = json.dumps(entry(url=secret, deep={"list": [secret]}))
    assert "[redacted]" in found
    for word in ("hunter2abc", "abcdefghij0123456789", "c2lnbmF0dXJl"):
        assert word not in found


def test_every_value_is_bounded() -> None:
    found = entry(message="m" * 10_000, text="t" * 10_000, many=list(range(10_000)))
    assert max(len(found["message"]), len(found["text"])) <= redact.LIMIT
    assert len(found["many"]) == redact.ITEMS


def test_nan_is_still_json() -> None:
    assert entry(value=float("nan"), high=float("inf"))["value"] == "nan"


@given(st.recursive(st.none() | st.floats() | st.integers() | st.text(), st.lists))
def test_anything_can_be_logged(fact: Any) -> None:
    entry(fact=fact)


def said(message: str, subject: Subject = SUBJECT, *, event: EventType | None, reason: str) -> Notice:
    return Notice(what="Switch", message=message, subject=subject, event=event, reason=reason)


def test_same_words_about_the_same_object_have_the_same_id() -> None:
    one, again = (said("v3 to v2", event=None, reason="Switched") for _ in range(2))
    assert one.id == again.id
    assert len(one.id) == 16
    others = [
        said("v2 to v1", event=None, reason="Switched"),
        said("v3 to v2", event=None, reason="Refused"),
        said("v3 to v2", SUBJECT | {"uid": "u2"}, event=None, reason="Switched"),
        replace(one, record="digits-00001a"),
    ]
    assert len({one.id, *(item.id for item in others)}) == 5
    assert entry(record="digits-00001a")["rollback"] == "digits-00001a"


def test_sink_that_breaks_takes_nothing_from_the_others(caplog: pytest.LogCaptureFixture) -> None:
    lines: list[str] = []

    class Broken(SecurityLog):
        def tell(self, notice: Notice) -> None:
            raise OSError(28, f"No space left on device for {notice.id}")

    Notices([Broken(), SecurityLog(write=lines.append)]).tell(said("v3 to v2", event=None, reason="Switched"))
    assert len(lines) == 1
    assert "Broken failed to deliver notice Switched" in caplog.text


async def test_sink_that_cannot_deliver_ends_neither_the_others_nor_the_operator(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lastgood.kube.notices.notice.AGAIN_SECONDS", 0.01)
    server, runs, third = Server(), 0, asyncio.Event()

    class Broken(SecurityLog):
        async def run(self) -> None:
            nonlocal runs
            runs += 1
            if runs == 3:
                third.set()
            raise OSError(28, "No space left on device")

        async def drain(self, *, seconds: float) -> None:
            raise OSError(28, f"No space left on device for {seconds} s")

    events = Events(server)  # type: ignore[arg-type]  # the simulated server
    notices = Notices([Broken(write=lambda _: None), events])
    task = asyncio.create_task(notices.run())
    notices.tell(said("v3 to v2", event="Normal", reason="Switched"))
    await notices.drain(seconds=30)
    assert len(server.objects) == 1
    async with asyncio.timeout(30):
        await third.wait()
    assert not task.done()
    task.cancel()
    assert "Broken cannot deliver notices, retrying" in caplog.text
    assert "Broken did not deliver all notices" in caplog.text


async def test_what_only_the_log_has_is_no_event() -> None:
    server = Server()
    events = Events(server)  # type: ignore[arg-type]  # the simulated server
    events.tell(said("v3 to v2", event=None, reason="Switched"))
    assert await posted(events, server) == []


async def posted(audit: Events, server: Server) -> list[dict[str, Any]]:
    task = asyncio.create_task(audit.run())
    await audit.drain(seconds=30)
    task.cancel()
    return list(server.objects.values())


async def test_an_event_is_written_beside_the_critical_path() -> None:
    server = Server()
    audit = Events(server, instance="pod-1")  # type: ignore[arg-type]  # the simulated server
    audit.tell(said("v3 to v2", SUBJECT, event="Warning", reason="Switched"))
    assert server.writes == []
    (event,) = await posted(audit, server)
    assert event["involvedObject"] == SUBJECT
    assert (event["type"], event["reason"], event["message"]) == ("Warning", "Switched", "v3 to v2")
    assert event["metadata"]["namespace"] == "ml"


async def test_an_event_waits_for_a_rollback_that_has_not_switched() -> None:
    server, calm = Server(), Calm()
    audit = Events(server, calm=calm)  # type: ignore[arg-type]  # the simulated server
    calm.press("digits")
    audit.tell(said("v3 to v2", SUBJECT, event="Warning", reason="Switched"))
    task = asyncio.create_task(audit.run())
    await asyncio.sleep(0.1)
    assert server.writes == []
    calm.relax("digits")
    await audit.drain(seconds=2)
    task.cancel()
    assert len(server.objects) == 1


async def test_who_has_many_events_keeps_no_other_namespace_waiting() -> None:
    server = Server()
    audit = Events(server)  # type: ignore[arg-type]  # the simulated server
    for number in range(50):
        audit.tell(said(f"{number}", SUBJECT, event="Normal", reason="Annotated"))
    audit.tell(said("v3 to v2", SUBJECT | {"namespace": "quiet"}, event="Warning", reason="Switched"))
    order = [event["metadata"]["namespace"] for event in await posted(audit, server)]
    assert order.index("quiet") == 1
    assert len(order) == 51


async def test_where_there_is_no_room_who_has_most_loses_an_event(caplog: pytest.LogCaptureFixture) -> None:
    server = Server()
    audit = Events(server)  # type: ignore[arg-type]  # the simulated server
    for number in range(WAITING):
        audit.tell(said(f"{number}", SUBJECT, event="Normal", reason="Annotated"))
    audit.tell(said("v3 to v2", SUBJECT | {"namespace": "quiet"}, event="Warning", reason="Switched"))
    events = await posted(audit, server)
    assert [event["reason"] for event in events if event["metadata"]["namespace"] == "quiet"] == ["Switched"]
    assert len(events) == WAITING
    assert f"dropped an Event of ml, Annotated: {WAITING - 1}" in caplog.text


async def test_what_was_dropped_may_be_said_again() -> None:
    server = Server()
    audit = Events(server)  # type: ignore[arg-type]  # the simulated server
    for number in range(WAITING + 1):
        audit.tell(said(f"{number}", SUBJECT, event="Normal", reason="Annotated"))
    await posted(audit, server)
    audit.tell(said(f"{WAITING}", SUBJECT, event="Normal", reason="Annotated"))
    assert len(await posted(audit, server)) == WAITING + 1


async def test_events_of_many_wait_for_a_rollback_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lastgood.kube.notices.events.HOLD_SECONDS", 0.5)
    server, calm = Server(), Calm()
    audit = Events(server, calm=calm)  # type: ignore[arg-type]  # the simulated server
    calm.press("digits")
    for number in range(20):
        subject = SUBJECT | {"namespace": f"n{number}", "uid": f"u{number}"}
        audit.tell(said("v3 to v2", subject, event="Normal", reason="Switched"))
    task = asyncio.create_task(audit.run())
    await audit.drain(seconds=5)  # one after another they would take 10
    task.cancel()
    assert len(server.objects) == 20


async def test_the_same_words_are_one_event() -> None:
    server = Server()
    audit = Events(server)  # type: ignore[arg-type]  # the simulated server
    for message in ("v3 to v2", "v3 to v2", "v2 to v1"):
        audit.tell(said(message, SUBJECT, event="Normal", reason="Switched"))
    assert len(await posted(audit, server)) == 2


async def test_what_is_said_again_after_a_minute_is_counted_in_the_same_event() -> None:
    server, now = Server(), 0.0
    audit = Events(server, clock=lambda: now)  # type: ignore[arg-type]  # the simulated server
    again = said("v3 to v2", SUBJECT, event="Normal", reason="Switched")
    for now in (0.0, 1.0, 30.0, 61.0, 62.0, 200.0):  # noqa: B007  # the clock reads it
        audit.tell(again)
        await posted(audit, server)
    (event,) = server.objects.values()
    assert (event["count"], event["series"]["count"]) == (6, 6)
    assert event["firstTimestamp"] <= event["lastTimestamp"]
    assert event["series"]["lastObservedTime"].startswith(event["lastTimestamp"].removesuffix("Z"))
    assert server.writes == ["create", "patch", "patch"]


async def test_what_is_said_again_after_the_event_is_gone_is_another() -> None:
    server, now = Server(), 0.0
    audit = Events(server, clock=lambda: now)  # type: ignore[arg-type]  # the simulated server
    again = said("v3 to v2", SUBJECT, event="Normal", reason="Switched")
    audit.tell(again)
    await posted(audit, server)
    server.objects.clear()  # an administrator deleted it
    now = 61.0
    audit.tell(again)
    (event,) = await posted(audit, server)
    assert event["count"] == 2
    now = 61.0 + 3600  # the API server keeps it no longer
    audit.tell(again)
    assert [event["count"] for event in await posted(audit, server)] == [2, 1]


@pytest.mark.parametrize("error", [ForbiddenError, InvalidError, ConflictError])
async def test_an_event_that_may_not_be_counted_is_written_anew(error: type[ApiError]) -> None:
    server, now = Server(), 0.0

    def refuse(verb: str) -> None:
        if verb == "patch":
            raise error(status=400, reason="No", message="a policy")

    server.before = refuse
    audit = Events(server, clock=lambda: now)  # type: ignore[arg-type]  # the simulated server
    for now in (0.0, 61.0):  # noqa: B007  # the clock reads it
        audit.tell(said("v3 to v2", SUBJECT, event="Normal", reason="Switched"))
        await posted(audit, server)
    assert [event["count"] for event in server.objects.values()] == [1, 2]


async def test_the_event_of_somebody_else_is_not_changed() -> None:
    server, now = Server(), 0.0
    audit = Events(server, clock=lambda: now)  # type: ignore[arg-type]  # the simulated server
    again = said("v3 to v2", SUBJECT, event="Normal", reason="Switched")
    audit.tell(again)
    (event,) = await posted(audit, server)
    server.put(EVENTS, {**event, "message": "theirs", "metadata": {**event["metadata"], "uid": "another"}})
    now = 61.0
    audit.tell(again)
    await posted(audit, server)
    assert sorted((each["message"], each["count"]) for each in server.objects.values()) == [
        ("theirs", 1),
        ("v3 to v2", 2),
    ]


async def test_what_breaks_the_writing_is_not_taken_for_said_and_keeps_nobody_waiting() -> None:
    server = Server()

    def broken(_: str) -> None:
        raise ZeroDivisionError

    server.before = broken
    audit = Events(server)  # type: ignore[arg-type]  # the simulated server
    notice = said("v3 to v2", SUBJECT, event="Normal", reason="Switched")
    audit.tell(notice)
    with pytest.raises(ZeroDivisionError):
        await audit.run()
    await audit.drain(seconds=0.1)
    server.before = lambda _: None
    audit.tell(notice)
    assert len(await posted(audit, server)) == 1


async def test_an_event_that_cannot_be_written_is_logged_and_forgotten(caplog: pytest.LogCaptureFixture) -> None:
    server = Server()
    server.down = True
    audit = Events(server)  # type: ignore[arg-type]  # the simulated server
    audit.tell(said("v3 to v2", SUBJECT, event="Normal", reason="Switched"))
    await posted(audit, server)
    assert "v3 to v2" in caplog.text


def test_events_are_not_written_faster_than_allowed() -> None:
    now = 0.0
    bucket = Bucket(burst=2, per_second=10, clock=lambda: now)
    assert [bucket.wait() for _ in range(4)] == pytest.approx([0, 0, 0.1, 0.2])
    now = 10.0
    assert bucket.wait() == 0
