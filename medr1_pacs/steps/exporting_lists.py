"""export: lists as Med-R1 is trained with, of answers that have a truth, with their pictures."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType

from medr1_pacs.audit.export_form import PICTURES
from medr1_pacs.errors import PictureLost
from medr1_pacs.exports import med_r1
from medr1_pacs.exports.cells import Cells, Table
from medr1_pacs.prompts import problem_of
from medr1_pacs.storage.export_folder import ExportFolder
from medr1_pacs.storage.hashed_file import HashedFile
from medr1_pacs.storage.pictures import PictureStore


class MedR1Lists:
    """A list a modality of what has a truth, with the pictures; a context manager."""

    def __init__(self, folder: ExportFolder, pictures: PictureStore, *, has_pictures: bool) -> None:
        self._folder = folder
        self._has_pictures = has_pictures
        self._pictures = pictures
        self._files = ExitStack()
        self._lists: dict[str, HashedFile] = {}
        self._laid_beside: HashedFile | None = None
        self._seen: set[int] = set()
        self._tried: set[int] = set()
        self.lost = 0
        """How many pictures could not be read."""

    def __enter__(self) -> MedR1Lists:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._files:
            for file in self._lists.values():
                file.write("\n]\n")

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
            key = _first_bytes(png_sha256) << 64 | _first_bytes(row[prompt] or "0")
            if letter is None or key in self._seen:
                return
            self._seen.add(key)
            problem = problem_of(row[prompt_text] or "")
            self._add(row[modality] or "other", png_sha256, problem, letter)

        return add

    def _add(self, modality: str, png_sha256: str, problem: str, letter: str) -> None:
        if self._laid_beside is None:
            self._laid_beside = self._files.enter_context(self._folder.open(PICTURES))
        file = self._lists.get(modality)
        if file is None:
            name = f"{med_r1.FOLDER}/{med_r1.list_name(modality)}"
            file = self._lists[modality] = self._files.enter_context(self._folder.open(name))
            file.write("[\n")
        else:
            file.write(",\n")
        file.write(med_r1.item(med_r1.picture_name(png_sha256), problem, letter))
        if self._has_pictures and _first_bytes(png_sha256) not in self._tried:
            self._tried.add(_first_bytes(png_sha256))
            self._copy(png_sha256, self._laid_beside)

    def _copy(self, png_sha256: str, laid_beside: HashedFile) -> None:
        try:
            png = self._pictures.read(png_sha256)
        except PictureLost:
            self.lost += 1
            return
        self._folder.put(f"{med_r1.FOLDER}/{med_r1.picture_name(png_sha256)}", png)
        laid_beside.write(f"{png_sha256}\n")


def _first_bytes(sha256: str) -> int:
    return int(sha256[:16], 16)
