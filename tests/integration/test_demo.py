"""A new user's first command: the demo's files, numbers and last words; nothing is left behind, however it ends."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

import pytest
from comparing import differences
from network_kit import Ended, run_program, wait_until

from isthmus.errors import INTERRUPTED, ConfigError
from isthmus_client.demo import COUNTRIES

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("demo"), pytest.mark.timeout(300)]

R_ANSWER = Path(__file__).parent / "r_answers/demo.json"
ISTHMUS = Path(sys.executable).with_name("isthmus")
# What a new user's shell has: the environment that make made is not on its path.
PLAIN_PATH = os.pathsep.join(p for p in os.environ["PATH"].split(os.pathsep) if Path(p) != ISTHMUS.parent)
ENVIRONMENT = {**os.environ, "PATH": PLAIN_PATH, "NO_COLOR": "1"}


class Demo:
    """The demo as a process of its own, with whatever it starts."""

    def __init__(self, out: Path, script: str = "") -> None:
        self.out = out
        self.said = out.with_name(f"{out.name}.stderr")
        command = [sys.executable, "-c", script] if script else [str(ISTHMUS)]
        with self.said.open("w") as errors:
            self.popen = subprocess.Popen(
                [*command, "demo", "--out", str(out)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=ENVIRONMENT,
                start_new_session=True,
            )

    def wait_for(self, words: str) -> None:
        wait_until(lambda: words in self.said.read_text() or self.popen.poll() is not None)
        assert self.popen.poll() is None, self.said.read_text()

    def end(self) -> Ended:
        stdout, _ = self.popen.communicate(timeout=200)
        return Ended(self.popen.returncode, stdout, self.said.read_text())

    @property
    def port(self) -> int:
        settings = tomllib.loads((self.out / "network/coordinator/coordinator.toml").read_text())
        return int(settings["port"])


def processes_under(folder: Path) -> list[str]:
    """Command lines of processes that were started for a folder: it is in their arguments or their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command, environment = (process / "cmdline").read_bytes(), (process / "environ").read_bytes()
        except OSError:
            continue
        if str(folder).encode() in command + environment:
            found.append(command.replace(b"\0", b" ").decode())
    return found


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@dataclass(frozen=True, slots=True)
class Finished:
    out: Path
    ended: Ended
    port: int


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A whole demo, in a folder that an earlier one left in the middle."""
    out = tmp_path_factory.mktemp("demo") / "out"
    interrupted = Demo(out)
    interrupted.wait_for("four nodes attached")
    port = interrupted.port
    assert listens(port)
    # the demo, the coordinator and four nodes
    assert len(processes_under(out)) >= 2 + len(COUNTRIES)
    # as a terminal does on Ctrl-C: to the whole group
    os.killpg(interrupted.popen.pid, signal.SIGINT)
    ended = interrupted.end()
    assert ended.code == INTERRUPTED, ended.stderr
    assert processes_under(out) == []
    assert not listens(port)
    (out / "report.html").write_text("of an earlier demo")
    demo = Demo(out)
    demo.wait_for("coordinator on")
    port = demo.port
    return Finished(out, demo.end(), port)


def test_demo_ends_well_and_leaves_nothing_running(finished: Finished) -> None:
    assert finished.ended.code == 0, finished.ended.stderr
    assert processes_under(finished.out) == []
    assert not listens(finished.port)


def test_demo_equals_r_on_the_pooled_file(finished: Finished) -> None:
    results = {r["analysis"]: r for r in json.loads((finished.out / "result.json").read_text())["results"]}
    assert list(results) == ["table-1", "km", "log-rank", "primary", "by-country"]
    primary, r = results["primary"], json.loads(R_ANSWER.read_text())
    assert differences(primary["answer"]["coef"], r["coef"], lambda path: 1e-8) == []
    assert (primary["answer"]["n"], primary["answer"]["n_event"]) == (r["n"], r["events"])
    assert primary["answer"]["loglik"] == pytest.approx(r["loglik"], rel=1e-10)
    assert primary["exact"] is True
    assert all(r["missing_countries"] == [] for r in results.values())


class Resources(HTMLParser):
    """What a page would load, and how many figures are in it."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.figures = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.figures += tag == "svg" or (tag == "img" and (dict(attrs).get("src") or "").startswith("data:image/"))
        for name, value in attrs:
            # a reader may follow a link of his own will; nothing else may point outside
            if name in ("src", "srcset", "data", "poster", "action") or (name.endswith("href") and tag != "a"):
                self.loaded.append(value or "")
            elif name == "style":
                self.loaded += styled(value or "")

    def handle_data(self, data: str) -> None:
        self.loaded += styled(data)


def styled(text: str) -> list[str]:
    return re.findall(r"""url\(\s*["']?([^"')]+)""", text) + re.findall(r"""@import\s+["']([^"']+)""", text)


def test_report_is_one_page_with_its_figures_inside(finished: Finished) -> None:
    page = (finished.out / "report.html").read_text(encoding="utf-8")
    read = Resources()
    read.feed(page)
    assert [r for r in read.loaded if not r.startswith(("data:", "#"))] == []
    assert read.figures >= 2
    assert "Recurrence-free survival by hormonal therapy" in page
    assert "BREAST-RFS" in page


def test_resources_of_a_page_are_seen() -> None:
    read = Resources()
    read.feed('<style>a {background: url("http://x/y.png")}</style><img src=//x/z.png><link href=a.css><a href=b>c</a>')
    assert read.loaded == ["http://x/y.png", "//x/z.png", "a.css"]


def test_last_words_say_what_left_and_the_command_they_name_works(finished: Finished) -> None:
    lines = finished.ended.stdout.splitlines()
    start = next(k for k, line in enumerate(lines) if line.startswith("country  releases"))
    said = {}
    for line in lines[start + 1 : start + 1 + len(COUNTRIES)]:
        country, releases, size, command = line.split(maxsplit=3)
        said[country] = (int(releases.replace(",", "")), int(size.replace(",", "")), command.strip())
    assert list(said) == list(COUNTRIES.values())
    for country, (releases, size, command) in said.items():
        # typed as it stands, where the demo was started
        done = subprocess.run(
            [*shlex.split(command), "--json"], capture_output=True, text=True, env=ENVIRONMENT, timeout=100
        )
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["data"]["totals"] == {"releases": releases, "refusals": 0, "bytes": size}, (
            country
        )
    given = [c for r in json.loads((finished.out / "result.json").read_text())["results"] for c in r["contributions"]]
    for country, (releases, size, _) in said.items():
        own = [c for c in given if c["country"] == country]
        assert (sum(c["releases"] for c in own), sum(c["bytes"] for c in own)) == (releases, size)


def test_every_number_of_the_demo_is_pooled_again_from_the_journals_with_nothing_running(
    finished: Finished, tmp_path: Path
) -> None:
    assert processes_under(finished.out) == []
    bundles = []
    for node in COUNTRIES:
        home, bundle = finished.out / "network" / f"node-{node}", tmp_path / f"{node}.zip"
        ended = run_program("isthmus-node", "journal", "export", "--home", str(home), "-o", str(bundle))
        assert ended.code == 0, ended.everything
        bundles.append(str(bundle))
    file = finished.out / "result.json"
    ended = run_program("isthmus", "replay", *bundles, "--result", str(file), "--exact", "--json")
    assert ended.code == 0, ended.everything
    results, runs = json.loads(file.read_text())["results"], json.loads(ended.stdout)["data"]["runs"]
    assert [(r["analysis"], r["answer"]) for r in runs] == [(r["analysis"], r["answer"]) for r in results]
    assert all(r["equal"]["to_the_bit"] and one["asked"]["to_the_bit"] for r in runs for one in r["rounds"])
    # every byte that the report counts is in the chain
    for result, run in zip(results, runs, strict=True):
        sent = [a for one in run["rounds"] for a in one["answers"]]
        for told in result["contributions"]:
            own = [a["payload_bytes"] for a in sent if a["country"] == told["country"]]
            assert (len(own), sum(own)) == (told["releases"], told["bytes"])


def test_screen_shows_tables_and_every_step(finished: Finished) -> None:
    for step in (
        "coordinator on",
        "have enrolled",
        "four nodes attached over mutual TLS",
        "approved by four custodians",
    ):
        assert step in finished.ended.stderr
    for words in ("hormon=1", "hazard ratio", "log-rank, stratified", "meta-analysis, fixed effect", "median (days)"):
        assert words in finished.ended.stdout


def test_terminated_at_its_beginning_it_leaves_nothing(tmp_path: Path) -> None:
    demo = Demo(tmp_path / "out")
    demo.wait_for("coordinator on")
    port = demo.port
    demo.popen.send_signal(signal.SIGTERM)
    ended = demo.end()
    assert ended.code == INTERRUPTED, ended.stderr
    assert processes_under(tmp_path) == []
    assert not listens(port)


BREAKS = """
import sys
from isthmus.errors import DataError
import isthmus_client.demo as demo
def broken(*_):
    raise DataError("BROKEN", "something broke in the middle; rule: it is told", "nothing")
demo.study_from_toml = broken
from isthmus_client.cli import main
sys.exit(main())
"""


def test_error_in_the_middle_leaves_nothing(tmp_path: Path) -> None:
    demo = Demo(tmp_path / "out", BREAKS)
    demo.wait_for("coordinator on")
    port = demo.port
    ended = demo.end()
    assert ended.code == 11, ended.stderr
    assert "something broke in the middle" in ended.stderr
    assert processes_under(tmp_path) == []
    assert not listens(port)


def test_folder_of_others_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    ended = run_program("isthmus", "demo", "--out", str(tmp_path))
    assert ended.code == ConfigError.exit_code
    assert "FOLDER_NOT_OURS" in ended.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]
