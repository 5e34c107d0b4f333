"""A timeline as one web page that needs nothing else: no script, no font, no network."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from html import escape
from typing import Final

from etcdlab.model.event import Event, EventKind, describe
from etcdlab.model.text import printable
from etcdlab.model.timeline import Condition, Span, Timeline

_STEPS_S: Final = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)
_MOST_TICKS: Final = 10
_DONE_TO_IT: Final = (EventKind.SIGNAL_SENT, EventKind.DATA_DAMAGED, EventKind.REPAIRED)
"""What was done to a member in a moment; all else that is done lasts, or shows in how the member is."""
_LEGEND: Final = (
    ("leads", "leads"),
    *((condition.value, condition.value) for condition in Condition),
    ("fault", "injected"),
    ("quorumless", "no quorum"),
    ("done", "done to it"),
)

_STYLE: Final = """
:root { color-scheme: light dark; --ink: #1c2430; --quiet: #667085; --page: #fff; --track: #eef0f4; --line: #d5d9e0;
  --leads: #1f6feb; --ready: #7fb8a4; --starting: #c5d3e8; --unhealthy: #f0b429; --paused: #a98fd6; --down: #d1343c;
  --stopped: #98a2b3; --failed: #7a1017; --fault: #e07b1a; --quorumless: #d1343c; --done: #000; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ef; --quiet: #98a2b3; --page: #14181f; --track: #222833;
  --line: #39414f; --ready: #3f7d69; --starting: #4a5a74; --stopped: #5d6675; --done: #fff; } }
* { box-sizing: border-box; }
body { margin: 2rem auto; max-width: 80rem; padding: 0 1.5rem; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.4rem; margin: 0; }
h2 { font-size: 1.05rem; margin: 2.2rem 0 .6rem; }
p { margin: .2rem 0 1.4rem; color: var(--quiet); }
.chart { display: grid; grid-template-columns: fit-content(16rem) 1fr; column-gap: 1rem; row-gap: .4rem; }
.name { line-height: 1.6rem; overflow-wrap: anywhere; text-align: right; }
.track { position: relative; height: 1.6rem; background: var(--track); overflow: hidden; border-radius: 3px; }
.track i { position: absolute; top: 0; bottom: 0; min-width: 2px; }
.axis { position: relative; height: 1.4rem; overflow: hidden; color: var(--quiet); font-size: .8rem; }
.axis b { position: absolute; font-weight: normal; padding-left: .3rem; border-left: 1px solid var(--line);
  white-space: nowrap; }
.track i.leads { bottom: 60%; }
.legend { display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; margin-top: 1rem; color: var(--quiet); font-size: .85rem; }
.legend i { display: inline-block; width: 1em; height: 1em; margin-right: .4em; vertical-align: -.1em; }
.fault { background: repeating-linear-gradient(45deg, var(--fault) 0 4px, transparent 4px 8px), var(--track); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .85rem; }
th { text-align: left; color: var(--quiet); font-weight: normal; }
td, th { padding: .2rem 1rem .2rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
td:nth-child(-n+3) { white-space: nowrap; }
td:first-child { font-variant-numeric: tabular-nums; }
""" + "".join(f".{name} {{ background: var(--{name}); }}\n" for name, _ in _LEGEND if name != "fault")


def page(lab: str, shown: Timeline, events: Iterable[Event]) -> str:
    """HTML of a lab's timeline, with those of its events that are within it."""
    return "".join(_lines(lab, shown, [event for event in events if event.monotonic_s >= shown.begin_s]))


def _lines(lab: str, shown: Timeline, events: Sequence[Event]) -> Iterator[str]:
    title = f"{_text(lab)}: what happened"
    yield f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{title}</title>\n'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
    yield "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
    yield f"<style>{_STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
    changes = shown.leader_changes
    yield f"<p>{_day(shown.began)} to {_day(shown.ended)}; {changes} leader change{'' if changes == 1 else 's'}</p>\n"
    yield '<div class="chart">\n<div></div><div class="axis">'
    yield from _axis(shown)
    yield "</div>\n"
    for name, spans in shown.members.items():
        leads = [leader for leader in shown.leaders if leader.text == name]
        bars = [_bar(shown, span, Condition(span.text).value, f"{name} {span.text}") for span in spans]
        bars += [_bar(shown, leader, "leads", f"{name} leads in term {leader.term}") for leader in leads]
        bars += [_mark(shown, event) for event in events if event.node == name and event.kind in _DONE_TO_IT]
        yield _row(name, bars)
    if shown.without_quorum:
        yield _row("quorum", [_bar(shown, span, "quorumless", span.text) for span in shown.without_quorum])
    for text in dict.fromkeys(span.text for span in shown.faults):
        yield _row(text, [_bar(shown, span, "fault", span.text) for span in shown.faults if span.text == text])
    yield '</div>\n<div class="legend">'
    yield "".join(f'<span><i class="{name}"></i>{words}</span>' for name, words in _LEGEND)
    yield '</div>\n<h2>Events</h2>\n<div class="wide">\n<table>\n'
    yield "<tr><th>time</th><th>member</th><th>event</th><th>what</th></tr>\n"
    for event in events:
        cells = (_clock(_at(shown, event.monotonic_s)), event.node or "", event.kind.value, describe(event))
        yield f"<tr>{''.join(f'<td>{_text(cell)}</td>' for cell in cells)}</tr>\n"
    yield "</table>\n</div>\n</body>\n</html>\n"


def _row(name: str, bars: Sequence[str]) -> str:
    return f'<div class="name">{_text(name)}</div><div class="track">{"".join(bars)}</div>\n'


def _bar(shown: Timeline, span: Span, kind: str, words: str) -> str:
    begin_s = max(span.begin_s, shown.begin_s)
    end_s = shown.end_s if span.end_s is None else min(span.end_s, shown.end_s)
    until = f"{_clock(_at(shown, end_s))}, {end_s - begin_s:.3f} s" if span.end_s is not None else "now"
    told = f"{words}: {_clock(_at(shown, begin_s))} to {until}"
    place = f"left:{_percent(shown, begin_s - shown.begin_s)};width:{_percent(shown, end_s - begin_s)}"
    return f'<i class="{kind}" style="{place}" title="{_text(told)}"></i>'


def _mark(shown: Timeline, event: Event) -> str:
    told = f"{describe(event)}: {_clock(_at(shown, event.monotonic_s))}"
    return (
        f'<i class="done" style="left:{_percent(shown, event.monotonic_s - shown.begin_s)}" title="{_text(told)}"></i>'
    )


def _axis(shown: Timeline) -> Iterator[str]:
    """A label at round times of the clock, at most so many."""
    length_s = _length_s(shown)
    step_s = next((step_s for step_s in _STEPS_S if length_s / step_s <= _MOST_TICKS), length_s)
    seconds = (shown.began.astimezone() - _midnight(shown.began)).total_seconds()
    at_s = step_s - seconds % step_s
    while at_s < length_s:
        moment = shown.began + timedelta(seconds=at_s)
        label = _clock(moment)[: -2 if step_s < 1 else -4]
        yield f'<b style="left:{_percent(shown, at_s)}">{label}</b>'
        at_s += step_s


def _percent(shown: Timeline, length_s: float) -> str:
    return f"{100 * length_s / _length_s(shown):.4f}%"


def _length_s(shown: Timeline) -> float:
    return max(shown.end_s - shown.begin_s, 0.001)


def _at(shown: Timeline, at_s: float) -> datetime:
    return shown.began + timedelta(seconds=at_s - shown.begin_s)


def _midnight(moment: datetime) -> datetime:
    return moment.astimezone().replace(hour=0, minute=0, second=0, microsecond=0)


def _day(moment: datetime) -> str:
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _clock(moment: datetime) -> str:
    return moment.astimezone().strftime("%H:%M:%S.%f")[:-3]


def _text(text: str) -> str:
    return escape(printable(text))
