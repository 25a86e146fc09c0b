"""Which weights: what the authors publish, what a site configured, and that files are unchanged.

While a site has configured none, the demo checkpoint stands in for all of them. No import of torch
here: the sweep and `doctor` read this module on machines without it.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
import shutil
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from medr1_pacs.errors import CheckpointMissing, SettingInvalid
from medr1_pacs.installation import DEMO_WEIGHTS
from medr1_pacs.records.words import CheckpointName

DEMO = CheckpointName.DEMO.value
MANIFEST_FILE = "manifest.json"

REPOSITORY = "yuxianglai117/Med-R1"
SUBFOLDERS: Mapping[CheckpointName, str] = {
    CheckpointName.CT: "VQA_CT",
    CheckpointName.MRI: "VQA_MRI",
    CheckpointName.XRAY: "VQA_X-Ray",
    CheckpointName.US: "VQA_US",
    CheckpointName.DERMOSCOPY: "VQA_Dermo",
    CheckpointName.FUNDUS: "VQA_Fundus",
    CheckpointName.OCT: "VQA_OCT",
    CheckpointName.MICROSCOPY: "VQA_Micro",
    CheckpointName.ANATOMY: "VQA_Anatomy_Identification",
    CheckpointName.DISEASE: "VQA_Disease_Diagnosis",
    CheckpointName.GRADING: "VQA_Lesion_Grading",
    CheckpointName.RECOGNITION: "VQA_Modality_Recognition",
    CheckpointName.ATTRIBUTES: "VQA_Other_Bio",
}
"""What the authors of Med-R1 publish: a subfolder each of one hub repository, about 4.4 GB."""

_REVISION = re.compile(r"^[0-9a-f]{40}$")
_NOT_WEIGHTS = {MANIFEST_FILE, "README.md"}


@dataclass(frozen=True, slots=True)
class ConfiguredCheckpoint:
    """Weights that this site answers with."""

    name: str
    path: Path
    revision: str
    is_demo: bool = False


@dataclass(frozen=True, slots=True)
class CheckpointRegistry:
    """The checkpoints of this site; without any, the demo checkpoint stands in."""

    configured: Mapping[str, ConfiguredCheckpoint] = field(default_factory=dict)

    @property
    def is_demo(self) -> bool:
        """Whether the demo checkpoint stands in."""
        return not self.configured

    @property
    def names(self) -> frozenset[str]:
        """The checkpoints that a worker here can answer with."""
        return frozenset(self.configured) or frozenset({DEMO})

    def resolve(self, requested: str) -> str:
        """Return the checkpoint that answers when another is requested."""
        return DEMO if self.is_demo else requested

    def get(self, name: str) -> ConfiguredCheckpoint:
        """Return a configured checkpoint.

        Raises
        ------
        CheckpointMissing
            It is not configured; the message says how to.
        """
        if self.is_demo and name == DEMO:
            revision = manifest_sha256(hash_files(DEMO_WEIGHTS))[:40]
            return ConfiguredCheckpoint(DEMO, DEMO_WEIGHTS, revision, is_demo=True)
        if name not in self.configured:
            raise CheckpointMissing(
                f"the checkpoint {name} is not configured: run "
                f"`medr1-pacs checkpoints pull {name} --revision HEX40`, "
                "or name its folder in MEDR1_CHECKPOINTS"
            )
        return self.configured[name]


def load_registry(checkpoints_file: Path | None, weights_dir: Path) -> CheckpointRegistry:
    """Read what a site configured: the checkpoints its file names, else those that were pulled.

    Raises
    ------
    SettingInvalid, CheckpointMissing
        The message names the file or folder and what to do.
    """
    if checkpoints_file is not None:
        return CheckpointRegistry(_read_checkpoints_file(checkpoints_file, weights_dir))
    pulled = sorted(weights_dir.glob(f"*/*/{MANIFEST_FILE}"))
    configured: dict[str, ConfiguredCheckpoint] = {}
    for manifest in pulled:
        name, revision = manifest.parent.parent.name, manifest.parent.name
        if name in configured:
            raise SettingInvalid(
                f"{manifest.parent.parent} holds two revisions; name one in MEDR1_CHECKPOINTS"
            )
        configured[name] = ConfiguredCheckpoint(name, manifest.parent, revision)
    return CheckpointRegistry(configured)


def _read_checkpoints_file(path: Path, weights_dir: Path) -> dict[str, ConfiguredCheckpoint]:
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise SettingInvalid(f"MEDR1_CHECKPOINTS names {path}, which does not exist") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingInvalid(f"{path}: cannot be read as TOML: {error}") from error
    configured = {}
    for name, table in content.items():
        if name not in SUBFOLDERS:
            raise SettingInvalid(f"{path}: {_no_checkpoint(name)}")
        is_table = isinstance(table, dict) and all(isinstance(v, str) for v in table.values())
        if not is_table or set(table) - {"path", "revision"} or not table:
            raise SettingInvalid(f'{path}: [{name}] takes path = "FOLDER" and revision = "HEX40"')
        revision = str(table.get("revision", ""))
        folder = path.parent / table["path"] if "path" in table else weights_dir / name / revision
        if not (folder / "config.json").is_file():
            raise CheckpointMissing(
                f"{path}: [{name}] there are no weights in {folder}: run "
                f"`medr1-pacs checkpoints pull {name} --revision {revision or 'HEX40'}`, "
                "or correct its path"
            )
        configured[name] = ConfiguredCheckpoint(name, folder, revision or "unversioned")
    return configured


def _no_checkpoint(name: str) -> str:
    return f"there is no checkpoint {name!r}; the names are {', '.join(SUBFOLDERS)}"


def find_missing_packages() -> list[str]:
    """Return the packages of the extra `worker` that are not installed; imports none of them."""
    needed = ("torch", "torchvision", "transformers", "qwen_vl_utils")
    return [name for name in needed if importlib.util.find_spec(name) is None]


def hash_files(folder: Path) -> dict[str, str]:
    """Return file name -> sha256 of everything that a checkpoint is loaded from."""
    hashes = {}
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.name not in _NOT_WEIGHTS and not path.name.startswith("."):
            with path.open("rb") as file:
                hashes[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return hashes


def manifest_sha256(hashes: Mapping[str, str]) -> str:
    """Return the one hash that stands for all files of a checkpoint."""
    return hashlib.sha256(json.dumps(hashes, sort_keys=True).encode()).hexdigest()


def verify_files(checkpoint: ConfiguredCheckpoint) -> str:
    """Return the hash of a checkpoint's files after comparing them with their manifest.

    Raises
    ------
    CheckpointMissing
        A file is missing, was added or was changed since the checkpoint was pulled.
    """
    hashes = hash_files(checkpoint.path)
    manifest = checkpoint.path / MANIFEST_FILE
    if manifest.exists():
        recorded = json.loads(manifest.read_text("utf-8"))
        differing = sorted(
            name
            for name in recorded.keys() | hashes.keys()
            if recorded.get(name) != hashes.get(name)
        )
        if differing:
            raise CheckpointMissing(
                f"{checkpoint.path}: {', '.join(differing)} differ from {MANIFEST_FILE}; "
                f"remove the folder and pull {checkpoint.name} again"
            )
    return manifest_sha256(hashes)


def pull_checkpoint(name: str, revision: str, weights_dir: Path) -> Path:
    """Download one checkpoint at a pinned revision; returns its folder.

    The only function of the project that reaches another host, and only when a person calls it.

    Raises
    ------
    SettingInvalid
        The name or the revision is not one.
    """
    if name not in SUBFOLDERS:
        raise SettingInvalid(_no_checkpoint(name))
    if not _REVISION.match(revision):
        raise SettingInvalid(
            f"--revision {revision!r} is not a commit: 40 hexadecimal digits pin the weights"
        )
    target = weights_dir / name / revision
    if (target / MANIFEST_FILE).exists():
        return target
    from huggingface_hub import snapshot_download  # an extra: base installs have none

    subfolder = SUBFOLDERS[CheckpointName(name)]
    unfinished = weights_dir / f".pulling-{name}-{revision}"
    snapshot_download(
        REPOSITORY,
        revision=revision,
        allow_patterns=[
            f"{subfolder}/*.{kind}" for kind in ("json", "safetensors", "txt", "jinja")
        ],
        local_dir=unfinished,
    )
    folder = unfinished / subfolder
    if not any(folder.glob("*.safetensors")):
        raise CheckpointMissing(f"{REPOSITORY}/{subfolder} has no safetensors at {revision}")
    (folder / MANIFEST_FILE).write_text(json.dumps(hash_files(folder), indent=1), "utf-8")
    target.parent.mkdir(parents=True, exist_ok=True)
    folder.rename(target)
    shutil.rmtree(unfinished, ignore_errors=True)
    return target
