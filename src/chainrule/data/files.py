"""Where data files lie, whether they are whole, and the few that can be fetched."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from chainrule.errors import ChainruleError

__all__ = ["DataFile", "DataFolder", "check_sha256", "data_folder", "is_complete", "locate"]

ENVIRONMENT_VARIABLE = "CHAINRULE_DATA"


@dataclass(frozen=True)
class DataFile:
    """A file below the data folder; `bytes` and `sha256` are None where any file of the right form does."""

    path: str
    bytes: int | None = None
    sha256: str | None = None
    url: str | None = None

    @property
    def described(self) -> str:
        """The path with its size and the start of its checksum, for messages."""
        if self.bytes is None or self.sha256 is None:
            return self.path
        return f"{self.path} ({self.bytes:,} bytes, sha256 {self.sha256[:12]}…)"


@dataclass(frozen=True)
class DataFolder:
    """The folder in use and who named it; only the cache, which nobody named, is downloaded into."""

    path: Path
    origin: str
    is_cache: bool

    @property
    def described(self) -> str:
        """The folder and its origin, for messages."""
        return f"{self.path} ({self.origin})"


def data_folder(root: str | PathLike[str] | None = None) -> DataFolder:
    """The data folder: `root`, else the environment variable CHAINRULE_DATA, else the user's cache.

    Raises `ChainruleError` when a folder that was named does not exist.
    """
    named = (
        (os.fspath(root), "given as root")
        if root is not None
        else (os.environ.get(ENVIRONMENT_VARIABLE, ""), f"from {ENVIRONMENT_VARIABLE}")
    )
    if root is None and not named[0]:
        import pooch  # imported late: only a machine without a named folder needs it

        return DataFolder(Path(pooch.os_cache("chainrule")), "the cache of chainrule", is_cache=True)
    path = Path(named[0]).expanduser()
    if not path.is_dir():
        other = "in root" if root is not None else f"in {ENVIRONMENT_VARIABLE}"
        raise ChainruleError(
            f"the data folder {str(path)!r} ({named[1]}) is not a folder; create it and put the data files "
            f"in it, or name another {other}"
        )
    return DataFolder(path, named[1], is_cache=False)


def is_complete(folder: Path, file: DataFile) -> bool:
    """Whether the file is there with the right size (its contents are not read)."""
    path = folder / file.path
    return path.is_file() and file.bytes in (None, path.stat().st_size)


def locate(
    name: str,
    files: Sequence[DataFile],
    alternatives: Sequence[DataFile] = (),
    root: str | PathLike[str] | None = None,
) -> tuple[list[Path], Sequence[DataFile]]:
    """The paths of `files`, or of `alternatives` where only those are there, and which of the two it was.

    Sizes are checked, contents are not. A file missing from the cache is fetched when it has an address.
    Raises `ChainruleError` for a missing file, a wrong size, and a download that failed.
    """
    folder = data_folder(root)
    absent = _absent(files, folder)
    if absent and alternatives and _obtainable(alternatives, folder) and not _obtainable(files, folder):
        files, absent = alternatives, _absent(alternatives, folder)
    for file in absent:
        if not (folder.is_cache and file.url):
            raise _missing(name, file, alternatives, folder)
        _fetch(name, file, folder.path)
    for file in files:
        _check_size(name, file, folder)
    return [folder.path / file.path for file in files], files


def check_sha256(name: str, file: DataFile, path: Path) -> None:
    """Raise `ChainruleError` when the file's SHA-256 is not the catalogue's (a file without one passes)."""
    if file.sha256 is None:
        return
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != file.sha256:
        raise ChainruleError(
            f"data set {name!r}: {path} is damaged or another file: its sha256 is {found[:12]}…, expected "
            f"{file.sha256[:12]}…; replace it"
        )


def _absent(files: Sequence[DataFile], folder: DataFolder) -> list[DataFile]:
    return [file for file in files if not (folder.path / file.path).exists()]


def _obtainable(files: Sequence[DataFile], folder: DataFolder) -> bool:
    return all(folder.is_cache and file.url for file in _absent(files, folder))


def _missing(
    name: str, file: DataFile, alternatives: Sequence[DataFile], folder: DataFolder
) -> ChainruleError:
    instead = ""
    if alternatives:
        instead = f", or {', '.join(other.path for other in alternatives)} below the same folder"
    form = "" if file.sha256 else f" (a file of your own, of the form that `chainrule datasets {name}` shows)"
    fetchable = file.url or (alternatives and all(other.url for other in alternatives))
    named_by = f"unset {ENVIRONMENT_VARIABLE}" if ENVIRONMENT_VARIABLE in folder.origin else "pass no root"
    fetch = f", or {named_by} to have it downloaded" if fetchable else ""
    return ChainruleError(
        f"data set {name!r} needs the file {file.described}{form}, which is not in {folder.described}; "
        f"put it at {folder.path / file.path}{instead}{fetch}"
    )


def _check_size(name: str, file: DataFile, folder: DataFolder) -> None:
    path = folder.path / file.path
    if not path.is_file():
        raise ChainruleError(f"data set {name!r}: {path} is not a file; expected {file.described}")
    size = path.stat().st_size
    if file.bytes not in (None, size):
        remedy = "delete it to have it downloaded again" if folder.is_cache and file.url else "replace it"
        raise ChainruleError(
            f"data set {name!r}: {path} has {size:,} bytes, expected {file.bytes:,}: it is truncated or "
            f"another file; {remedy}"
        )


def _fetch(name: str, file: DataFile, folder: Path) -> None:
    import pooch  # imported late: reading files that are there must not need it

    target = folder / file.path
    try:
        with _quiet(pooch.get_logger()):
            pooch.retrieve(
                url=file.url, known_hash=f"sha256:{file.sha256}", fname=target.name, path=target.parent
            )
    except (OSError, ValueError) as error:  # no network, no space, refused by the server; wrong checksum
        raise ChainruleError(
            f"data set {name!r}: could not download {file.url} ({_reason(error)}); get "
            f"{file.described} another way and put it at {target}"
        ) from error


@contextmanager
def _quiet(logger: logging.Logger) -> Iterator[None]:
    """Hold back the lines that pooch writes about each download; what goes wrong is raised anyway."""
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def _reason(error: Exception) -> str:
    """What went wrong with a download, in a few words: the network's own messages fill a screen."""
    if type(error).__name__ in ("ConnectionError", "ConnectTimeout", "ReadTimeout", "ProxyError"):
        return "no connection"
    text = " ".join(str(error).split())
    return text if len(text) <= 120 else f"{text[:119]}…"
