"""Is everything as it must be? One line a question: PASS, WARN, FAIL or SKIP, with the cause and what to do."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from isthmus.confined import refuse_traces
from isthmus.errors import ConfigError, IsthmusError, LinkError
from isthmus.v1 import study_pb2
from isthmus_methods.contract import CellSupport, Field, Item, Kind, Summary
from isthmus_methods.registry import METHODS
from isthmus_node import config as settings
from isthmus_node.catalogue import Datasets, Severity
from isthmus_node.config import NodeConfig
from isthmus_node.custodian.adoption import Adoptions, in_journal
from isthmus_node.custodian.decisions import Decisions
from isthmus_node.egress import presets
from isthmus_node.egress.auditor import read_states
from isthmus_node.egress.gate import Refusal, judge
from isthmus_node.egress.journal import Journal
from isthmus_node.egress.journal_read import verify
from isthmus_node.egress.policy import Policy, policy_text
from isthmus_node.egress.wire import Header, encode
from isthmus_node.homes import Home
from isthmus_node.link.channel import dial_of
from isthmus_node.link.diagnose import diagnose
from isthmus_node.ops.lines import Line, Mark
from isthmus_node.public_keys import read_public
from isthmus_node.shelf import Shelf
from isthmus_node.training.checking import check_training
from isthmus_node.witness.own import Checkpoints
from isthmus_node.witness.report import others_of, own_of
from isthmus_trust.certificates import Role, check_valid, read_chain
from isthmus_trust.identity import IdentityKey
from isthmus_trust.key_files import read_secret

# Days left at which a certificate that should have been renewed is worth a word.
FEW_DAYS = 5
# Free bytes on the disk of the journal.
LITTLE_ROOM = 1_000_000_000
NO_ROOM = 50_000_000


Question = Callable[[], Iterator[Line]]


def check(
    home: Home, flags: dict[str, str | None] | None = None, now: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> list[Line]:
    """Ask everything that can be asked of a node; never raises, whatever is broken.

    Parameters
    ----------
    home
        The node's folders.
    flags
        Settings given on the command line.
    now
        The time here.
    """
    try:
        config = settings.load(home, flags)
    except IsthmusError as error:
        return [_failed("settings", error), Line("everything else", Mark.SKIP, "needs settings that can be read")]
    questions: list[tuple[str, Question]] = [
        ("settings", lambda: _settings(config)),
        ("traces", _traces),
        ("files", lambda: _files(config)),
        ("keys", lambda: _keys(config)),
        ("certificate", lambda: _certificate(config, now())),
        ("coordinator", lambda: _coordinator(config, now())),
        ("disk", lambda: _disk(home)),
        ("policy", lambda: _policy(config)),
        ("journal", lambda: _journal(config)),
        ("auditor", lambda: _auditor(config)),
        ("witnesses", lambda: _witnesses(config)),
        ("data", lambda: _data(config)),
        ("training", lambda: check_training(config)),
        ("dry release", lambda: _dry_release(config)),
    ]
    lines: list[Line] = []
    for name, question in questions:
        try:
            lines += question()
        except IsthmusError as error:
            lines.append(_failed(name, error))
        except Exception as error:  # noqa: BLE001 - a check must not hide the answers of the others
            lines.append(Line(name, Mark.FAIL, f"an unforeseen fault ({type(error).__name__})", "report it", 1))
    return lines


def exit_code(lines: list[Line]) -> int:
    """0 where nothing failed, otherwise the exit code of the first failure."""
    return next((line.exit_code or ConfigError.exit_code for line in lines if line.mark is Mark.FAIL), 0)


def _failed(question: str, error: IsthmusError) -> Line:
    return Line(question, Mark.FAIL, f"{error.message} [{error.code}]", error.remedy, error.exit_code)


def _settings(config: NodeConfig) -> Iterator[Line]:
    yield Line("settings", Mark.PASS, f"{config.home.settings if config.home.settings.exists() else 'defaults'}")
    if config.coordinator is None or not config.name:
        yield Line(
            "joined",
            Mark.FAIL,
            "this node has not joined a coordinator",
            "isthmus-node join TOKEN_FILE",
            ConfigError.exit_code,
        )
    else:
        yield Line("joined", Mark.PASS, f"node {config.name}, country {config.country}, to {config.coordinator}")
    upper = [name for name in ("HTTPS_PROXY", "HTTP_PROXY") if os.environ.get(name)]
    if upper and config.proxy is None:
        yield Line(
            "proxy",
            Mark.WARN,
            f"{upper[0]} is set, but gRPC looks at lower-case names only, so no proxy is used",
            "set proxy.url in node.toml",
        )
    elif config.proxy is not None:
        how = "with name and password" if config.proxy.username else "without a name"
        yield Line("proxy", Mark.PASS, f"{config.proxy.address} {how} (from {config.origins['proxy.url']})")


def _traces() -> Iterator[Line]:
    """What `run` refuses to start with; core dumps it switches off itself."""
    refuse_traces()
    yield Line("traces", Mark.PASS, "none is set; a running node switches core dumps off for itself")


def _files(config: NodeConfig) -> Iterator[Line]:
    home = config.home
    if not home.pki.exists():
        yield Line("file modes", Mark.SKIP, "there are no keys yet")
        return
    secret = [p for p in (home.identity_key, home.tls_key, config.custodian_key) if p.exists()]
    open_ones = [path for path in secret if stat.S_IMODE(path.stat().st_mode) & 0o077]
    for path in open_ones:
        yield Line(
            "file modes",
            Mark.FAIL,
            f"others may read {path}; rule: a key has mode 0600",
            f"chmod 600 {path}",
            ConfigError.exit_code,
        )
    if not open_ones:
        yield Line("file modes", Mark.PASS, f"{len(secret)} keys are readable by their owner only")
    loose = [p for p in (home.settings, home.policy, home.state) if p.exists() and p.stat().st_mode & stat.S_IWOTH]
    for path in loose:
        yield Line(
            "file modes",
            Mark.FAIL,
            f"everybody may write {path}, and with it change what leaves",
            f"chmod o-w {path}",
            ConfigError.exit_code,
        )


def _keys(config: NodeConfig) -> Iterator[Line]:
    home = config.home
    if not home.joined:
        yield Line("keys", Mark.SKIP, "there are none before the node has joined")
        return
    IdentityKey.load(home.identity_key)
    custodian = read_public(home.custodian_public)
    read_public(home.coordinator_key)
    if not config.custodian_key.exists():
        yield Line(
            "keys",
            Mark.PASS,
            "identity key; the custodian's key is kept elsewhere, so decisions cannot be made on this machine",
        )
    elif IdentityKey.load(config.custodian_key).public != custodian:
        yield Line(
            "keys",
            Mark.FAIL,
            f"{config.custodian_key} is not the custodian's key that this node joined with",
            "restore it from the backup, or correct custodian_key in node.toml",
            ConfigError.exit_code,
        )
    else:
        yield Line("keys", Mark.PASS, "identity key and custodian's key are in place and belong to this node")


def _certificate(config: NodeConfig, now: datetime) -> Iterator[Line]:
    home = config.home
    if not home.joined:
        yield Line("certificate", Mark.SKIP, "there is none before the node has joined")
        yield Line("clock", Mark.SKIP, "there is nothing to compare it with")
        return
    chain = read_secret(home.certificate)
    peer = check_valid(chain, now, authority_pem=read_secret(home.authority), role=Role.NODE)
    days = (peer.expires_at - now).total_seconds() / 86_400
    if peer.name != config.name:
        yield Line(
            "certificate",
            Mark.FAIL,
            f"it is of node {peer.name}, the settings say {config.name}",
            f"set name = {peer.name!r} in node.toml, or restore the right pki/",
            ConfigError.exit_code,
        )
    elif days < FEW_DAYS:
        yield Line(
            "certificate",
            Mark.WARN,
            f"valid for {days:.1f} more days; it is renewed by itself while the node runs",
            "start the node: isthmus-node run",
        )
    else:
        yield Line("certificate", Mark.PASS, f"of node {peer.name}, valid for {days:.0f} more days")
    start = read_chain(chain)[0].not_valid_before_utc
    # more cannot be proved from here: a clock may be wrong and still lie between these dates
    yield Line(
        "clock", Mark.PASS, f"{now:%Y-%m-%d %H:%M} UTC lies in the certificate's time, which began {start:%Y-%m-%d}"
    )


def _coordinator(config: NodeConfig, now: datetime) -> Iterator[Line]:
    if not config.home.joined or config.coordinator is None:
        yield Line("coordinator", Mark.SKIP, "the node has not joined one")
        return
    error = diagnose(dial_of(config), now)
    if error is not None:
        yield _failed("coordinator", error)
        return
    way = f"through the proxy {config.proxy.address}" if config.proxy else "directly"
    yield Line("coordinator", Mark.PASS, f"{config.coordinator} answers {way}, in TLS 1.3, as the one this node joined")


def _disk(home: Home) -> Iterator[Line]:
    folder = next((p for p in (home.state, *home.state.parents) if p.exists()), Path("/"))
    free = shutil.disk_usage(folder).free
    words = f"{free / 1e9:.1f} GB free at {folder}"
    if free < NO_ROOM:
        yield Line(
            "disk",
            Mark.FAIL,
            f"{words}; the journal needs room before anything may leave",
            "make room",
            ConfigError.exit_code,
        )
    elif free < LITTLE_ROOM:
        yield Line("disk", Mark.WARN, words, "make room: without it nothing leaves")
    else:
        yield Line("disk", Mark.PASS, words)


def _policy(config: NodeConfig) -> Iterator[Line]:
    home = config.home
    text = policy_text(home.policy)
    policy = Policy.read(text, METHODS, home.policy)
    if not home.joined:
        yield Line("policy", Mark.PASS, f"{home.policy}, digest {policy.digest.hex()[:16]}; it is signed at joining")
        return
    adoptions = Adoptions(home.policies, config.name, read_public(home.custodian_public))
    serial = adoptions.check(text.encode(), policy, in_journal(home.journal)).serial
    words = f"signed as number {serial}, digest {policy.digest.hex()[:16]}"
    if config.country in presets.names() and policy.preset != config.country:
        yield Line(
            "policy",
            Mark.WARN,
            f"{words}; there is a preset of {config.country}, and the policy is not based on it",
            f"let the custodian decide: preset = {config.country!r} in policy.toml, then isthmus-node policy adopt",
        )
        return
    yield Line("policy", Mark.PASS, words + (f", preset {policy.preset}" if policy.preset else ""))


def _journal(config: NodeConfig) -> Iterator[Line]:
    home = config.home
    try:
        verified = verify(home.journal)
        if config.home.joined:
            own = Checkpoints(home.checkpoints, config.name, IdentityKey.load(home.identity_key).public)
            own.check(verified.records, verified.tree)
    except ConfigError as error:
        if error.code != "JOURNAL_MISSING":
            raise
        yield Line("journal", Mark.SKIP, "there is none before the node has run")
        return
    head = f"; head {verified.head.hex()[:16]}"
    unfinished = "; its last entry is unfinished and is cut off at the next start" if verified.unfinished else ""
    yield Line("journal", Mark.PASS, f"{verified.records} records, every byte as written{head}{unfinished}")


def _witnesses(config: NodeConfig) -> Iterator[Line]:
    """Who has seen this node's journal, and what it has seen of others'."""
    if not config.home.joined:
        yield Line("witnesses", Mark.SKIP, "there are none before the node has joined")
        return
    own = own_of(config)
    for words in own.refused:
        remedy = "keep the journal for the inquiry; put the newest one back, and tell the custodian"
        yield Line("witnesses", Mark.FAIL, words, remedy, ConfigError.exit_code)
    if not own.records:
        yield Line("witnesses", Mark.SKIP, "no checkpoint yet: one is signed at the end of each run")
    elif own.missing:
        yield Line("witnesses", Mark.WARN, own.words(), "none needed: it is tried again while the node is attached")
    elif not own.refused:
        yield Line("witnesses", Mark.PASS, own.words())
    for other in others_of(config):
        if other.stands:
            remedy = f"tell the custodian of {other.node} and the coordinating team; isthmus-node journal witnessed"
            yield Line("witnesses", Mark.WARN, other.words(), remedy)


def _data(config: NodeConfig) -> Iterator[Line]:
    home = config.home
    datasets = Datasets(home.state, config.country)
    registered = {registration.name for registration in datasets.list()}
    if not registered:
        yield Line("data", Mark.WARN, "no dataset is registered", "isthmus-node data add FILE --dataset NAME")
        return
    judged: set[str] = set()
    for question, dictionary in _dictionaries(config):
        if dictionary.name not in registered:
            continue
        judged.add(dictionary.name)
        try:
            findings = datasets.check(dictionary.name, dictionary)
        except IsthmusError as error:
            yield _failed(question, error)
            continue
        for finding in findings:
            mark = Mark.FAIL if finding.severity is Severity.FAIL else Mark.WARN
            remedy = "correct the source, or register it again" if mark is Mark.FAIL else "nothing, if it is meant so"
            yield Line(question, mark, f"{finding.words} [{finding.code}]", remedy, 11 if mark is Mark.FAIL else 0)
        if not findings:
            yield Line(question, Mark.PASS, "fits the study's dictionary")
    for name in sorted(registered - judged):
        yield Line(f"data {name}", Mark.SKIP, "no study that names it has arrived")


def _dictionaries(config: NodeConfig) -> Iterator[tuple[str, study_pb2.Dataset]]:
    """The newest version of each study that this site has not declined, dataset by dataset."""
    home = config.home
    decisions = Decisions(home.decisions, config.name, read_public(home.custodian_public)) if home.joined else None
    newest = {shelved.study.name: shelved for shelved in Shelf(home.studies).everything()}
    for shelved in newest.values():
        made = decisions.about(shelved.digest) if decisions else None
        if made is None or made.decision.approved:
            for dictionary in shelved.study.datasets:
                yield f"data {dictionary.name} for {shelved.title}", dictionary


def _auditor(config: NodeConfig) -> Iterator[Line]:
    """Whether what was released before can be read; where it cannot, nothing leaves."""
    known = ", ".join(state.dataset for state, _ in read_states(config.home.auditor))
    yield Line("auditor", Mark.PASS, f"knows what left from {known}" if known else "nothing was released yet")


def _dry_release(config: NodeConfig) -> Iterator[Line]:
    """A made-up count through gate, wire and journal, in a folder of its own; nothing is sent."""
    identity = IdentityKey.generate()
    count = np.array([100, 200], dtype=np.int64)
    summary = Summary((Item("persons", count, CellSupport(count, axis=None)),))
    leaves = {"persons": Field(Kind.COUNT, "made-up persons")}
    policy = Policy.load(config.home.policy, METHODS)
    purposes = [p for p in policy.limits if p != study_pb2.CLOSED_COMMITTEE]
    if not purposes:
        yield Line("dry release", Mark.SKIP, "the policy lets nothing out for any purpose")
        return
    # made-up numbers are nobody's: there is nothing that an auditor could hold against them
    outcome = judge(summary, leaves, (), purposes[0], policy, False, lambda _: None)
    if isinstance(outcome, Refusal):
        raise ConfigError("DRY_RELEASE", f"the gate refuses a made-up count: {outcome.rule}", "look at the policy")
    header = Header(task=bytes(32), node=config.name or "node", country=config.country)
    home = config.home
    near = home.state if home.state.exists() else None
    with tempfile.TemporaryDirectory(prefix="dry-", dir=near) as folder, Journal.open(Path(folder)) as journal:
        journaled = journal.release(encode(outcome, header, identity))
        written = verify(Path(folder)).records
    if written < 1 or not journaled.payload:
        raise LinkError("DRY_RELEASE", "what was released is not in the journal", "report it")
    yield Line("dry release", Mark.PASS, "a made-up count went through gate, wire and journal; nothing was sent")
