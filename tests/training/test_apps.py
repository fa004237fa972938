"""Apps as they lie on a machine: found, named, digested, without running them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from app_kit import Shop

from isthmus.errors import ConfigError, UsageError
from isthmus_training import apps
from isthmus_training.apps import Offered, batch_of, digest_of, find, settings_of

OFFERED = Offered({"rate": 0.5, "steps": 3, "name": "a", "batch-size": 0}, "batch-size", False, {})


def test_shipped_apps_are_found_and_not_imported() -> None:
    before = set(sys.modules)
    assert {"logistic", "mlp"} <= set(apps.names())
    found = find("logistic")
    assert (found.version, found.package, len(found.digest)) == ("1", "isthmus_training", 32)
    assert "isthmus_training.shipped.logistic" not in set(sys.modules) - before


def test_lines_for_the_policy_are_what_the_policy_reads() -> None:
    import tomllib

    found = find("logistic")
    table = tomllib.loads(found.policy_lines)["training"]["apps"]["logistic"]
    assert table == {"version": found.version, "digest": found.digest.hex()}


def test_digest_is_of_every_file_and_its_name_and_of_no_compiled_one(tmp_path: Path) -> None:
    def made(files: dict[str, str]) -> bytes:
        root = tmp_path / f"p{len(list(tmp_path.iterdir()))}"
        for name, text in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return digest_of(root)

    first = made({"__init__.py": "a", "part/b.py": "b"})
    assert made({"part/b.py": "b", "__init__.py": "a", "__pycache__/x.pyc": "z", "part/y.pyc": "z"}) == first
    others = [
        made({"__init__.py": "a", "part/b.py": "c"}),
        made({"__init__.py": "a", "part/c.py": "b"}),
        made({"__init__.py": "a"}),
        made({"__init__.py": "a", "part/b.py": "b", "weights.bin": ""}),
        made({"__init__.py": "apart", "part/b.py": ""}),
    ]
    assert len({first, *others}) == 6


def test_app_that_nobody_installed_is_named_with_the_nearest() -> None:
    with pytest.raises(UsageError) as unknown:
        find("logistics")
    assert unknown.value.code == "UNKNOWN_APP"
    assert "'logistic'" in unknown.value.message


@pytest.mark.parametrize(
    ("code", "words"),
    [("version = 1\n", "no line version"), ("x = 1\n", "no line version"), ("version = ", "no Python")],
)
def test_app_whose_version_cannot_be_read_is_refused(shop: Shop, code: str, words: str) -> None:
    with pytest.raises(ConfigError) as refused:
        shop.bring("odd", code, whole=True)
    assert refused.value.code == "APP_UNREADABLE"
    assert words in refused.value.message


def test_two_packages_with_one_name_are_refused(shop: Shop) -> None:
    shop.bring("mine", "")
    other = shop.folder / "other-1.dist-info"
    other.mkdir()
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1\n")
    (other / "entry_points.txt").write_text("[isthmus.client_apps]\nmine = another_package\n")
    with pytest.raises(ConfigError) as refused:
        find("mine")
    assert refused.value.code == "APP_TWICE"


def test_settings_are_the_defaults_and_what_is_given() -> None:
    assert settings_of(OFFERED, {"rate": 1, "name": "b"}) == {"rate": 1.0, "steps": 3, "name": "b", "batch-size": 0}


@pytest.mark.parametrize(
    "given", [{"rat": 1.0}, {"steps": 1.5}, {"steps": True}, {"name": 1}, {"batch-size": -1}, {"rate": float("inf")}]
)
def test_settings_of_another_name_or_type_are_refused(given: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        settings_of(OFFERED, given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("offered", "given", "batch"),
    [
        (OFFERED, {"batch-size": 0}, 40),
        (OFFERED, {"batch-size": 7}, 7),
        (OFFERED, {"batch-size": 70}, 40),
        (Offered({}, None, False, {}), {}, 1),
        (Offered({}, None, True, {}), {}, 40),
    ],
)
def test_smallest_batch_is_what_the_app_declares(offered: Offered, given: dict[str, int], batch: int) -> None:
    assert batch_of(offered, given, 40) == batch


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("settings = {'x': [1]}\n", "default"),
        ("metrics = {'loss': (0.0, float('inf'))}\n", "finite range"),
        ("batch_setting = 'nothing'\n", "batch_setting"),
        ("start = None\n", "start"),
    ],
)
def test_app_that_does_not_offer_what_it_must_is_refused(shop: Shop, code: str, words: str) -> None:
    installed = shop.bring(f"wrong{abs(hash(code))}", code)
    with pytest.raises(ConfigError) as refused:
        apps.load(installed.module)
    assert words in refused.value.message
