"""export: lists as Med-R1 is trained with, of answers that have a truth, with their pictures."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from medr1_pacs.errors import PictureLost
from medr1_pacs.exports import med_r1
from medr1_pacs.exports.cells import Cells, Table
from medr1_pacs.prompts import problem_of
from medr1_pacs.records.words import JsonObject
from medr1_pacs.storage.hashed_file import HashedFile
from medr1_pacs.storage.pictures import PictureStore


class MedR1Lists:
    """A list a modality of what has a truth, with the pictures; a context manager."""

    def __init__(self, folder: Path, pictures: PictureStore, *, has_pictures: bool) -> None:
        self._folder = folder / med_r1.FOLDER
        self._has_pictures = has_pictures
        self._pictures = pictures
        self._lists: dict[str, HashedFile] = {}
        self._seen: set[int] = set()
        self._missing: set[str] = set()
        self.files: dict[str, JsonObject] = {}

    @property
    def lost(self) -> int:
        """How many pictures could not be read."""
        return len(self._missing)

    def __enter__(self) -> MedR1Lists:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for modality, file in sorted(self._lists.items()):
            file.write("\n]\n")
            file.close()
            name = f"{med_r1.FOLDER}/{med_r1.list_name(modality)}"
            self.files[name] = file.describe()

    def adder(self, table: Table) -> Callable[[Cells], None]:
        """Return what adds an answer's question, each once a picture and order of options."""
        names = ("truth", "kind", "options", "png_sha256", "prompt_sha256", "modality")
        truth, kind, options, png, prompt, modality = map(table.names.index, names)
        prompt_text = table.names.index("prompt_text")

        def add(row: Cells) -> None:
            if row[truth] is None or row[kind] != "protocol":
                return
            letter = med_r1.right_letter(json.loads(row[options] or "[]"), row[truth])
            png_sha256 = row[png] or ""
            # Eight bytes of each: a list has millions of items, and no two the same by chance.
            key = int(png_sha256[:16], 16) << 64 | int((row[prompt] or "0")[:16], 16)
            if letter is None or key in self._seen:
                return
            self._seen.add(key)
            problem = problem_of(row[prompt_text] or "")
            self._add(row[modality] or "other", png_sha256, problem, letter)

        return add

    def _add(self, modality: str, png_sha256: str, problem: str, letter: str) -> None:
        file = self._lists.get(modality)
        if file is None:
            self._folder.mkdir(exist_ok=True)
            path = self._folder / med_r1.list_name(modality)
            file = self._lists[modality] = HashedFile(path).__enter__()
            file.write("[\n")
        else:
            file.write(",\n")
        image = med_r1.picture_name(png_sha256)
        file.write(med_r1.item(image, problem, letter))
        if (
            self._has_pictures
            and f"{med_r1.FOLDER}/{image}" not in self.files
            and png_sha256 not in self._missing
        ):
            self._copy(png_sha256, self._folder / image)

    def _copy(self, png_sha256: str, path: Path) -> None:
        path.parent.mkdir(exist_ok=True)
        try:
            path.write_bytes(self._pictures.read(png_sha256))
        except PictureLost:
            self._missing.add(png_sha256)
            return
        self.files[f"{med_r1.FOLDER}/{med_r1.picture_name(png_sha256)}"] = {
            "sha256": png_sha256,
            "bytes": path.stat().st_size,
        }
