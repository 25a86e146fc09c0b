"""The wheel, installed where there is no source tree, runs the whole service in an empty folder."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path
from zipfile import ZipFile

import pytest
from service import Service
from wheel import ROOT, build_wheel

from medr1_pacs.demo.studies import make_study
from medr1_pacs.records.words import Modality


def install(python: Path, wheel: Path) -> None:
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "--python",
            python,
            "install",
            "--no-deps",
            "--no-index",
            wheel,
        ],
        check=True,
        capture_output=True,
    )


@pytest.fixture(scope="module")
def python(tmp_path_factory) -> Path:
    """The Python of an environment that holds our wheel, and borrows what the wheel depends on."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "env"], check=True)
    python = folder / "env" / "bin" / "python"
    install(python, build_wheel(folder))
    # A folder that is only named in a .pth has its own .pth files ignored: not our source tree's.
    [site_packages] = folder.glob("env/lib/python*/site-packages")
    (site_packages / "borrowed.pth").write_text(sysconfig.get_path("purelib"))
    return python


@pytest.fixture(scope="module")
def service(python, tmp_path_factory):
    service = Service(tmp_path_factory.mktemp("empty"), python=str(python))
    service.start()
    yield service
    service.stop()


def test_the_source_tree_is_not_what_runs(python, tmp_path):
    program = "import medr1_pacs, workers; print(medr1_pacs.__file__, workers.__file__)"

    done = subprocess.run(
        [python, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True
    )

    assert str(ROOT) not in done.stdout
    assert done.stdout.count("site-packages") == 2


def test_a_study_sent_to_it_is_answered(service):
    assert set(service.send(make_study(Modality.XRAY, 7301))) == {0x0000}

    [study] = service.wait_for_settled(1)

    assert study["state"] == "answered"
    assert len(service.answers()) == study["answers"] > 0


def test_it_finds_nothing_wrong_with_itself(service):
    result = service.run("doctor")

    assert result.returncode == 0, result.stdout
    assert "installation: in " in result.stdout


@pytest.mark.parametrize("arguments", [("doctor",), ("db", "upgrade")], ids=" ".join)
def test_a_wheel_that_carries_our_common_names_too_is_noticed(service, python, tmp_path, arguments):
    carrier = tmp_path / "carrier-1.0-py3-none-any.whl"
    with ZipFile(carrier, "w") as archive:
        archive.writestr("workers/extra.py", "")
        archive.writestr(
            "carrier-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: carrier\nVersion: 1.0\n"
        )
        archive.writestr(
            "carrier-1.0.dist-info/WHEEL",
            "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        archive.writestr(
            "carrier-1.0.dist-info/RECORD",
            "workers/extra.py,,\ncarrier-1.0.dist-info/METADATA,,\n"
            "carrier-1.0.dist-info/WHEEL,,\ncarrier-1.0.dist-info/RECORD,,\n",
        )
    install(python, carrier)

    result = service.run(*arguments)

    assert result.returncode == 1
    assert "carrier also installs a folder `workers`" in result.stdout + result.stderr
