"""A timeline as a web page: what is in it, and what a browser makes of it."""

import html
import re
import shutil
import subprocess
from datetime import UTC, datetime
from html.parser import HTMLParser

import msgspec
import pytest

from etcdlab.export.timeline_page import page
from etcdlab.model.event import Event, EventKind
from etcdlab.model.timeline import timeline

NOW = datetime(2026, 1, 1, 12, 0, 0, 400_000, tzinfo=UTC)  # a label of the axis begins just before the end
TOLD = (
    (10.0, EventKind.SPAWNED, "n1", {"pid": 4711}),
    (12.0, EventKind.READY, "n1", {}),
    (12.0, EventKind.LEADER_CHANGED, "n1", {"term": 2}),
    (60.0, EventKind.FAULT_INJECTED, None, {"text": "cut n1 ↔ <n2>"}),
    (69.9, EventKind.SIGNAL_SENT, "n1", {"signal": "SIGKILL"}),
    (70.0, EventKind.EXITED, "n1", {"reason": "killed", "detail": "killed by \x1b[31mSIGKILL & co"}),
    (70.0, EventKind.QUORUM_LOST, None, {"healthy": 0, "voters": 2}),
    (70.001, EventKind.SPAWNED, "n1", {"pid": 4712}),
)
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
MEASURE = """<script>
window.onload = () => {
    const bars = [...document.querySelectorAll(".track i")].map(bar => {
        const box = bar.getBoundingClientRect(), track = bar.parentElement.getBoundingClientRect()
        return {
            kind: bar.className, left: (box.left - track.left) / track.width, width: box.width / track.width,
            pixels: box.width, height: box.height, paint: getComputedStyle(bar).backgroundColor + getComputedStyle(bar).backgroundImage,
            top: document.elementFromPoint(box.left + box.width / 2, box.top + 2)?.className,
        }
    })
    const tracks = [...document.querySelectorAll(".track")].map(track => track.getBoundingClientRect())
    document.body.textContent = JSON.stringify({
        bars, overflows: document.documentElement.scrollWidth > innerWidth, tracks: tracks.map(track => [track.left, track.width]),
    })
}
</script>"""  # noqa: E501 - a program for the browser


def shown(told=TOLD, now_s: float = 110.0, since_s: float | None = None) -> str:
    events = [
        Event(seq=number, time="", monotonic_s=at_s, kind=kind, node=node, detail=detail)
        for number, (at_s, kind, node, detail) in enumerate(told, start=1)
    ]
    return page("lab & co", timeline(events, members=["n1", "n2"], now_s=now_s, now=NOW, since_s=since_s), events)


class Elements(HTMLParser):
    """Checks that what is opened is closed, in order, and that nothing is asked for from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag, attrs):
        self.attributes += attrs
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_it_is_whole_and_needs_nothing_from_elsewhere():
    elements = Elements()
    elements.feed(shown())
    assert elements.open == []
    assert not {name for name, _ in elements.attributes} & {"src", "href"}
    assert "<script" not in shown()
    assert "url(" not in shown()


def test_what_others_wrote_is_text():
    assert "<title>lab &amp; co: what happened</title>" in shown()
    assert "cut n1 ↔ &lt;n2&gt;" in shown()
    assert "killed by \\x1b[31mSIGKILL &amp; co" in shown()


def bars(text: str) -> list[tuple[str, str]]:
    found = re.findall(r'<i class="(\w+)" style="[^"]*" title="([^"]*)"', text)
    return [(kind, html.unescape(title)) for kind, title in found]


def test_each_span_tells_what_it_was_and_when():
    told = [(kind, re.sub(r"\d\d:(\d\d:\d\d\.\d+)", r"\1", words)) for kind, words in bars(shown())]
    assert told == [
        ("starting", "n1 starting: 58:20.400 to 58:22.400, 2.000 s"),
        ("ready", "n1 ready: 58:22.400 to 59:20.400, 58.000 s"),
        ("down", "n1 down: 59:20.400 to 59:20.401, 0.001 s"),
        ("starting", "n1 starting: 59:20.401 to now"),
        ("leads", "n1 leads in term 2: 58:22.400 to 59:20.400, 58.000 s"),
        ("done", "SIGKILL, as asked: 59:20.300"),
        ("quorumless", "no quorum: 59:20.400 to now"),
        ("fault", "cut n1 ↔ <n2>: 59:10.400 to now"),
    ]


def test_only_what_is_asked_for():
    text = shown(since_s=65.0)
    assert "process 4711 started" not in text
    assert "process 4712 started" in text
    assert "n1 ready: " in text


@pytest.mark.parametrize("length_s", [0.0, 0.3, 7, 59, 3000, 86400, 10**7])
def test_the_clock_has_a_few_round_times(length_s):
    text = shown(now_s=10.0 + length_s)
    labels = re.findall(r'<b style="left:([\d.]+)%">([\d:.]+)</b>', text)
    assert len(labels) <= 11
    assert length_s < 1 or labels
    assert all(0 <= float(left) <= 100 for left, _ in labels)


def test_a_lab_of_which_nothing_is_known_has_a_page():
    assert '<div class="name">n2</div>' in shown(())


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
@pytest.mark.parametrize("width", [500, 1600])
def test_a_browser_draws_each_span_where_and_as_long_as_it_was(tmp_path, width):
    looked_at = tmp_path / "page.html"
    # The page forbids all scripts: this one looks at a copy that allows it.
    looked_at.write_text(re.sub('<meta http-equiv="Content-Security-Policy"[^>]*>', "", shown()) + MEASURE)
    command = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}",
        f"--window-size={width},900", "--virtual-time-budget=1000", "--dump-dom", looked_at.as_uri(),
    ]  # fmt: skip
    printed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    seen = msgspec.json.decode(html.unescape(printed.partition("<body>")[2].partition("</body>")[0]))
    assert not seen["overflows"]
    assert len({tuple(track) for track in seen["tracks"]}) == 1  # all rows have one scale
    by_kind = {bar["kind"]: bar for bar in seen["bars"]}
    assert [round(by_kind["ready"][part], 2) for part in ("left", "width")] == [0.02, 0.58]
    assert [round(by_kind["fault"][part], 2) for part in ("left", "width")] == [0.5, 0.5]
    assert by_kind["down"]["pixels"] >= 2  # a millisecond of a minute and a half is there to be seen
    assert by_kind["leads"]["height"] < by_kind["ready"]["height"]
    assert all(bar["height"] > 5 for bar in seen["bars"])
    assert all(bar["top"] == kind for kind, bar in by_kind.items() if kind in ("leads", "fault", "quorumless"))
    paints = {kind: bar["paint"] for kind, bar in by_kind.items()}
    assert paints.pop("quorumless") == paints["down"]
    assert len(set(paints.values())) == len(paints)
