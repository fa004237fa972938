"""Bad input through the three commands: what happened, which rule, what to do; nothing is lost and nothing leaves."""

from __future__ import annotations

import csv
import json
import resource
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from network_kit import Ended, answer_bytes, run_program, wait_until

from isthmus.errors import ConfigError, DataError, IsthmusError, LinkError, Refused, UsageError
from isthmus.v1 import study_pb2
from isthmus_client.connection import Connection
from isthmus_client.demo import DATASET, example_folder
from isthmus_client.profiles import write_settings
from isthmus_client.sandbox import Process, Sandbox, free_port
from isthmus_node.egress.journal_read import Entry, read

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("network"), pytest.mark.timeout(300)]

STUDY = "BREAST-RFS"
# Stands in a cell of a bad file: must be in no answer, no log and no error outside the site.
SECRET = "QUX7712"


def told(ended: Ended, kind: type[IsthmusError], code: str, *words: str) -> None:
    """The error is of its kind, in one envelope and in words; it says what happened and what to do, and no row."""
    assert ended.code == kind.exit_code, ended.everything
    envelope = json.loads(ended.stdout)
    assert set(envelope) == {"schema_version", "status", "error"}
    assert (envelope["schema_version"], envelope["status"]) == (1, "error")
    error = envelope["error"]
    assert set(error) == {"code", "message", "remedy"}
    assert error["code"] == code, ended.everything
    assert error["remedy"]
    assert f"error: {error['message']} [{code}]\n  -> {error['remedy']}\n" in ended.stderr
    assert "Traceback" not in ended.everything
    for word in words:
        assert word in error["message"] + error["remedy"], ended.stderr
    assert SECRET not in ended.everything


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bad-input")


@pytest.fixture(scope="module")
def aside(network: Sandbox, folder: Path) -> Path:
    """A copy of at's folder, which nothing runs on: to spoil."""
    return Path(shutil.copytree(network.node_home("at"), folder / "aside", ignore=shutil.ignore_patterns("*.lock")))


@pytest.fixture(scope="module")
def undisturbed(network: Sandbox) -> bytes:
    with network.connect() as connection:
        return answer_bytes(connection.study(STUDY).planned("primary").run(progress=False))


def rows_of(country: str) -> tuple[list[str], list[dict[str, str]]]:
    with (example_folder() / "data" / f"{country}.csv").open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        return list(reader.fieldnames or ()), list(reader)


def spoilt(path: Path, change: Callable[[list[str], list[dict[str, str]]], object]) -> Path:
    """at's rows with something wrong in them."""
    names, rows = rows_of("AT")
    change(names, rows)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, names, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return path


def without_grade(names: list[str], rows: list[dict[str, str]]) -> None:
    names.remove("grade")


def text_as_age(names: list[str], rows: list[dict[str, str]]) -> None:
    rows[3]["age"] = SECRET


def unknown_grade(names: list[str], rows: list[dict[str, str]]) -> None:
    for row in rows[:20]:
        row["grade"] = SECRET


# --------------------------------------------------------------------------- files at a site

NO_TABLES = {
    "workbook.xlsx": (b"PK\x03\x04" + bytes(200), "NOT_A_TABLE", "Excel"),
    "report.pdf": (b"%PDF-1.7\n" + bytes(200), "NOT_A_TABLE", "PDF"),
    "picture.csv": (bytes(range(256)) * 4, "NOT_A_TABLE", "CSV, Parquet, XPT or Dataset-JSON"),
    "page.csv": (b"<html><body>no such page</body></html>", "NOT_A_TABLE", "HTML"),
    "empty.csv": (b"", "EMPTY_FILE", "0 bytes"),
    "cut.csv": (b'country,age\nAT,"' + SECRET.encode() + b"\nAT,12\n", "TRUNCATED", "quotes"),
    "ragged.csv": (b"country,age\nAT,50\nAT," + SECRET.encode() + b",1,2\n", "RAGGED_ROW", "line 3"),
}


@pytest.mark.parametrize("name", NO_TABLES)
def test_file_that_is_no_table(aside: Path, folder: Path, name: str) -> None:
    content, code, word = NO_TABLES[name]
    path = folder / name
    path.write_bytes(content)
    before = (aside / "state/datasets.toml").read_bytes()
    ended = run_program("isthmus-node", "data", "add", str(path), "--dataset", "X", "--home", str(aside), "--json")
    told(ended, DataError, code, name, word)
    assert (aside / "state/datasets.toml").read_bytes() == before


@pytest.mark.parametrize(
    ("change", "words"),
    [(without_grade, ("grade: the source has no such column",)), (text_as_age, ("age: 1 row hold", "numeric"))],
)
def test_file_that_does_not_fit_the_dictionary(
    aside: Path, folder: Path, change: Callable[[list[str], list[dict[str, str]]], object], words: tuple[str, ...]
) -> None:
    path = spoilt(folder / f"{change.__name__}.csv", change)
    ended = run_program(
        "isthmus-node", "data", "add", str(path), "--dataset", DATASET, "--study", STUDY, "--replace",
        "--home", str(aside), "--json",
    )  # fmt: skip
    told(ended, DataError, "DICTIONARY_MISMATCH", *words, "--map")
    # the one that fits is still registered
    listed = run_program("isthmus-node", "data", "list", "--home", str(aside), "--json")
    assert {d["dataset"]: d["source"] for d in json.loads(listed.stdout)["data"]["datasets"]}[DATASET] == "AT.csv"


def test_unknown_level_is_named_with_its_count_at_the_site(aside: Path, folder: Path) -> None:
    path = spoilt(folder / "unknown.csv", unknown_grade)
    ended = run_program(
        "isthmus-node", "data", "add", str(path), "--dataset", DATASET, "--study", STUDY, "--replace",
        "--home", str(aside), "--json",
    )  # fmt: skip
    assert ended.code == 0, ended.stderr
    found = {f["code"]: f for f in json.loads(ended.stdout)["data"]["findings"]}
    assert found["UNKNOWN_LEVEL"]["rows"] == 20
    assert found["UNKNOWN_LEVEL"]["variable"] == "grade"


@contextmanager
def registered(box: Sandbox, path: Path) -> Iterator[None]:
    """at's dataset is another file; afterwards its own again."""
    own = example_folder() / "data/AT.csv"
    box.node("at", "data", "add", str(path), "--dataset", DATASET, "--replace")
    try:
        yield
    finally:
        box.node("at", "data", "add", str(own), "--dataset", DATASET, "--replace")


def releases_of(box: Sandbox, run: bytes) -> list[Entry]:
    """What at's journal says left for a run."""
    entries = read(box.node_home("at") / "state/journal")
    return [entry for entry in entries if entry.payload and entry.record.run == run]


@pytest.mark.parametrize("change", [without_grade, text_as_age])
def test_dataset_that_went_bad_is_refused_without_a_word_of_its_rows(
    network: Sandbox,
    folder: Path,
    undisturbed: bytes,
    change: Callable[[list[str], list[dict[str, str]]], object],
) -> None:
    with registered(network, spoilt(folder / f"bad-{change.__name__}.csv", change)), network.connect() as connection:
        plan = connection.study(STUDY).planned("primary")
        with pytest.raises(IsthmusError) as caught:
            plan.run(progress=False)
        assert isinstance(caught.value, Refused)
        assert caught.value.code == "DATA_DO_NOT_ALLOW"
        assert "AT refused" in caught.value.message
        (entry,) = releases_of(network, plan.runs[0])
    assert entry.record.event == "REFUSED"
    assert SECRET.encode() not in entry.payload
    assert SECRET not in str(caught.value)
    assert SECRET not in (network.home / "logs/coordinator.log").read_text()
    assert SECRET not in (network.home / "logs/node-at.log").read_text()
    with network.connect() as connection:
        assert answer_bytes(connection.study(STUDY).planned("primary").run(progress=False)) == undisturbed


def test_unknown_level_counts_as_missing_and_is_never_named_outside(network: Sandbox, folder: Path) -> None:
    path = spoilt(folder / "level.csv", unknown_grade)
    with registered(network, path), network.connect() as connection:
        plan = connection.study(STUDY).planned("table-1")
        fit = plan.run(progress=False)
        payloads = [entry.payload for entry in releases_of(network, plan.runs[0])]
    assert payloads
    assert all(SECRET.encode() not in payload for payload in payloads)
    assert SECRET not in json.dumps(fit.as_dict())


# --------------------------------------------------------------------------- what a statistician writes


def analysis(folder: Path, body: str) -> str:
    path = folder / "plan.toml"
    path.write_text(f'study = "{STUDY}"\n{body}\n', encoding="utf-8")
    return str(path)


PLANS = {
    "unknown variable": (
        "[[analysis]]\nmethod = 'cox'\nformula = 'Surv(rfstime, status) ~ hormone'",
        (UsageError, "UNKNOWN_VARIABLE", "hormone", "did you mean hormon?"),
    ),
    "unknown function": (
        "[[analysis]]\nmethod = 'cox'\nformula = 'Surv(rfstime, status) ~ exp(age)'",
        (UsageError, "UNKNOWN_FUNCTION", "exp"),
    ),
    "code": (
        "[[analysis]]\nmethod = 'cox'\nformula = 'Surv(rfstime, status) ~ __import__(\"os\").system(\"id\")'",
        (UsageError, "FORMULA_SYNTAX"),
    ),
    "unknown method": (
        "[[analysis]]\nmethod = 'km'\nformula = 'x'",
        (ConfigError, "BAD_VALUE", "kaplan_meier"),
    ),
    "unknown level in a filter": (
        "[[analysis]]\nmethod = 'kaplan_meier'\nformula = 'Surv(rfstime, status) ~ 1'\nwhere = \"grade == '7'\"",
        (UsageError, "UNKNOWN_LEVEL", "grade", "'2'"),
    ),
    "unknown planned analysis": ("planned = ['primry']", (UsageError, "UNKNOWN_ANALYSIS", "primary")),
    "misspelt key": ("planed = ['primary']", (ConfigError, "UNKNOWN_KEY", "planed", "did you mean planned?")),
    "unknown option": (
        "[[analysis]]\nmethod = 'cox'\nformula = 'Surv(rfstime, status) ~ age'\noptions = { tyes = 'efron' }",
        (UsageError, "UNKNOWN_OPTION", "tyes", "ties"),
    ),
}


@pytest.mark.parametrize("what", PLANS)
def test_plan_that_cannot_be_asked(network: Sandbox, folder: Path, what: str) -> None:
    body, (kind, code, *words) = PLANS[what]
    profile = str(network.profile)
    ended = run_program("isthmus", "run", analysis(folder, body), "--profile", profile, "--json")
    told(ended, kind, code, *words)


FORBIDDEN = {
    "patient": ('type = "text"\nroles = ["identifier"]', "identifies persons|free text"),
    "remark": ('type = "text"', "free text"),
    "visit": ('type = "date"', "calendar date"),
}


@pytest.mark.parametrize("name", FORBIDDEN)
def test_forbidden_variable_is_in_no_study(network: Sandbox, folder: Path, name: str) -> None:
    declared, words = FORBIDDEN[name]
    text = (example_folder() / "study.toml").read_text(encoding="utf-8")
    head = text[: text.index("# ----")].replace('name = "BREAST-RFS"', 'name = "BREAST-FORBIDDEN"', 1)
    plan = f'[[plan]]\nname = "p"\nmethod = "cox"\nformula = "Surv(rfstime, status) ~ age + {name}"\n'
    path = folder / f"{name}.toml"
    path.write_text(f"{head}\n[dataset.variables.{name}]\n{declared}\n\n{plan}", encoding="utf-8")
    ended = run_program("isthmus", "study", "propose", str(path), "--profile", str(network.profile), "--json")
    told(ended, UsageError, "FORBIDDEN_VARIABLE", name)
    assert any(word in ended.error["message"] for word in words.split("|"))
    with network.connect() as connection:
        assert "BREAST-FORBIDDEN" not in [line.name for line in connection.study_lines()]


def test_request_past_the_own_parser_is_turned_down_by_the_coordinator(network: Sandbox) -> None:
    """A client that does not check: the same rules hold at the coordinator, before any country is asked."""
    with network.connect() as connection:
        study = connection.study(STUDY)
        asked = next(a for a in study.message.plan if a.name == "primary")
        for spoil in (unknown_variable, unknown_method, too_many_terms):
            changed = study_pb2.Analysis()
            changed.CopyFrom(asked)
            spoil(changed)
            with pytest.raises((UsageError, Refused)):
                connection.submit(study.digest, exploratory=changed)


def unknown_variable(changed: study_pb2.Analysis) -> None:
    changed.spec.terms[0].columns[0].variable = "USUBJID"


def unknown_method(changed: study_pb2.Analysis) -> None:
    changed.spec.method = "download"


def too_many_terms(changed: study_pb2.Analysis) -> None:
    del changed.spec.roles[:]


# --------------------------------------------------------------------------- policy


@pytest.fixture
def policy(network: Sandbox) -> Iterator[Path]:
    """at's policy file; as it was afterwards."""
    path = network.node_home("at") / "policy.toml"
    before = path.read_bytes()
    yield path
    path.write_bytes(before)


def test_policy_with_a_misspelt_key_lets_nothing_out(network: Sandbox, policy: Path, undisturbed: bytes) -> None:
    before = policy.read_bytes()
    spoilt_policy = before.replace(b"cell_persons = 5 ", b"cell_person = 5 ", 1)
    assert spoilt_policy != before
    policy.write_bytes(spoilt_policy)
    home = str(network.node_home("at"))
    shown = run_program("isthmus-node", "policy", "show", "--home", home, "--json")
    told(shown, ConfigError, "POLICY_UNKNOWN_KEY", "cell_person", "did you mean purpose.trial_analysis.cell_persons?")
    checked = run_program("isthmus-node", "check", "--home", home, "--json")
    assert checked.code == ConfigError.exit_code
    assert "cell_persons" in checked.stdout
    with network.connect() as connection:
        plan = connection.study(STUDY).planned("primary")
        with pytest.raises(IsthmusError) as caught:
            plan.run(progress=False)
        assert "AT" in caught.value.message
        assert caught.value.code == "POLICY_UNKNOWN_KEY"
        (entry,) = releases_of(network, plan.runs[0])
        assert entry.record.event == "REFUSED"
        # the site's own words stay at the site
        assert b"cell_person" not in entry.payload
        policy.write_bytes(before)
        assert answer_bytes(connection.study(STUDY).planned("primary").run(progress=False)) == undisturbed


def test_node_does_not_start_with_a_misspelt_policy(network: Sandbox, aside: Path) -> None:
    path = aside / "policy.toml"
    before = path.read_text(encoding="utf-8")
    for spoilt_policy, code, word in (
        (before.replace("leverage = 0.5", "levrage = 0.5", 1), "POLICY_UNKNOWN_KEY", "leverage"),
        (before.replace("cell_persons = 5 ", "cell_persons = 1 ", 1), "POLICY_BELOW_FLOOR", "the floor is 3"),
        ("[purpose", "POLICY_UNREADABLE", "is no TOML file"),
    ):
        path.write_text(spoilt_policy, encoding="utf-8")
        ended = run_program("isthmus-node", "run", "--home", str(aside))
        assert ended.code == ConfigError.exit_code, ended.stderr
        assert f"[{code}]" in ended.stderr
        assert word in ended.stderr
    path.unlink()
    ended = run_program("isthmus-node", "run", "--home", str(aside))
    assert ended.code == ConfigError.exit_code
    assert "[POLICY_MISSING]" in ended.stderr
    path.write_text(before, encoding="utf-8")


# --------------------------------------------------------------------------- ports and ways


def test_port_in_use(network: Sandbox, folder: Path, aside: Path) -> None:
    with Sandbox(folder / "second", port=network.port) as second:
        second.init_coordinator()
        ended = run_program("isthmus-coordinator", "run", "--home", str(second.coordinator_home), "--json")
        told(ended, ConfigError, "PORT_IN_USE", str(network.port), "coordinator.toml")
    same = run_program("isthmus-coordinator", "run", "--home", str(network.coordinator_home), "--json")
    told(same, ConfigError, "ALREADY_RUNNING", "one at a time")
    settings = aside / "node.toml"
    before = settings.read_text(encoding="utf-8")
    settings.write_text(f"{before}\n[health]\nport = {network.port}\n", encoding="utf-8")
    node = run_program("isthmus-node", "run", "--home", str(aside))
    settings.write_text(before, encoding="utf-8")
    assert node.code == ConfigError.exit_code, node.stderr
    assert "[PORT_IN_USE]" in node.stderr
    assert "health.port" in node.stderr


def test_second_node_on_one_home(network: Sandbox) -> None:
    ended = run_program("isthmus-node", "run", "--home", str(network.node_home("at")))
    assert ended.code == ConfigError.exit_code, ended.stderr
    assert "[RUNNING_ALREADY]" in ended.stderr


def test_unreachable_coordinator_is_said_to_be(network: Sandbox, folder: Path, aside: Path) -> None:
    nowhere = f"127.0.0.1:{free_port()}"
    profile = Path(shutil.copytree(network.profile, folder / "profile"))
    for settings in profile.glob("*.toml"):
        settings.unlink()
    write_settings(profile, nowhere, "statistician")
    ended = run_program("isthmus", "studies", "--profile", str(profile), "--json")
    told(ended, LinkError, "UNREACHABLE", nowhere, "firewall or proxy")
    checked = run_program("isthmus-node", "check", "--home", str(aside), "--json", env={"ISTHMUS_COORDINATOR": nowhere})
    assert checked.code == LinkError.exit_code, checked.stdout
    (line,) = [c for c in json.loads(checked.stdout)["data"]["checks"] if c["question"] == "coordinator"]
    assert line["mark"] == "FAIL"
    assert nowhere in line["found"]
    assert "CONNECTION_REFUSED" in line["found"]
    assert line["remedy"]


@contextmanager
def proxy(answer: bytes) -> Iterator[str]:
    """An HTTP proxy that answers every CONNECT with these bytes and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.settimeout(10)
                    try:
                        while b"\r\n\r\n" not in connection.recv(4096):
                            pass
                        connection.sendall(answer)
                    except OSError:
                        continue

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(20)


PROXIES = {
    "forbids": (b"HTTP/1.1 403 Forbidden\r\n\r\n", "PROXY_REFUSED"),
    "wants a password": (
        b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n",
        "PROXY_WANTS_NAME",
    ),
    "is no proxy": (b"SSH-2.0-OpenSSH_9.0\r\n\r\n", "NOT_A_PROXY"),
}


def test_proxies_that_do_not_let_through_cost_no_token(network: Sandbox, folder: Path) -> None:
    token = network.invite("se", "node", "SE")
    home = folder / "se"

    def join(way: str) -> Ended:
        return run_program("isthmus-node", "join", str(token), "--proxy", way, "--home", str(home), "--json")

    dead = f"127.0.0.1:{free_port()}"
    told(join(f"http://{dead}"), LinkError, "CONNECTION_REFUSED", dead, "the proxy")
    for answer, code in PROXIES.values():
        with proxy(answer) as address:
            ended = join(address)
        told(ended, LinkError, code, address.removeprefix("http://"))
    # the keys that were made stay, the token is still good
    joined = run_program("isthmus-node", "join", str(token), "--home", str(home), "--json")
    assert joined.code == 0, joined.stderr
    network.coordinator("revoke", "se")


# --------------------------------------------------------------------------- a full disk


def journal_file(box: Sandbox) -> Path:
    return box.node_home("at") / "state/journal/journal"


@contextmanager
def full_disk(process: Process, size: int) -> Iterator[None]:
    """No file of the process may grow beyond a size, as on a disk that is full; then there is room again."""
    soft, hard = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (soft, hard))


def bytes_from_at(connection: Connection, run: bytes) -> int:
    progress = next(iter(connection.watch(run)))
    return next(c.bytes for c in progress.countries if c.node == "at")


def test_nothing_is_sent_while_the_journals_disk_is_full(network: Sandbox, undisturbed: bytes) -> None:
    process, journal = network.processes["at"], journal_file(network)
    log = network.home / "logs/node-at.log"
    faults = log.read_text().count('"journal-fault"')
    before = journal.read_bytes()
    with network.connect() as connection:
        plan = connection.study(STUDY).planned("primary")
        # room for the beginning of an entry, not for a whole one; the log, a file as well, is smaller than that
        assert log.stat().st_size < len(before)
        with full_disk(process, len(before) + 100):
            plan.start()
            wait_until(lambda: log.read_text().count('"journal-fault"') > faults)
            assert journal.read_bytes() == before
            assert bytes_from_at(connection, plan.runs[0]) == 0
            line = next(x for x in reversed(log.read_text().splitlines()) if '"journal-fault"' in x)
            said = json.loads(line)
            assert said["code"] == "JOURNAL_NOT_WRITABLE"
            assert "nothing leaves that is not in the journal" in said["message"]
            assert "make room" in said["remedy"]
        # room again: the node goes on by itself
        fit = plan.run(progress=False)
        assert answer_bytes(fit) == undisturbed
        assert len(releases_of(network, plan.runs[0])) == fit.result.rounds
    network.node("at", "journal", "verify")
