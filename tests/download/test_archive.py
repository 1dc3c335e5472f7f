"""Archives that mean harm end in one line, with nothing outside the folder."""

import io
import stat
import tarfile
import zipfile

import pytest

from pyserini_jpq.download.archive import is_archive, unpack
from pyserini_jpq.errors import DownloadError

pytestmark = pytest.mark.unit


def tar(path, *members):
    """Write members, each a name with content, or a TarInfo."""
    with tarfile.open(path, "w:gz") as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                archive.addfile(info, io.BytesIO(member[1]))
    return path


def link(name, target, kind=tarfile.SYMTYPE):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def zipped(path, *members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def files(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in" / "out").mkdir(parents=True)
    return tmp_path / "in" / "out"


@pytest.mark.parametrize("write", [tar, zipped])
def test_regular_files_come_out(tmp_path, folder, write):
    path = write(tmp_path / ("a.tar.gz" if write is tar else "a.zip"), ("./m96/config.json", b"{}"), ("m96/b/c", b"c"))
    assert is_archive(path)
    unpack(path, folder)
    assert files(folder) == {"m96/config.json": b"{}", "m96/b/c": b"c"}


def test_only_what_lies_within(tmp_path, folder):
    unpack(zipped(tmp_path / "a.zip", ("x/y/1", b"1"), ("x/yz/2", b"2"), ("3", b"3")), folder, "x/y")
    assert files(folder) == {"1": b"1"}


NAMES = ["../evil", "a/../../evil", "/evil", "..", "C:/evil", "C:\\evil", "..\\evil", "\\\\host\\evil"]


@pytest.mark.parametrize("name", NAMES)
def test_names_that_lead_outside(tmp_path, folder, name):
    for path in (tar(tmp_path / "a.tar.gz", ("ok", b""), (name, b"x")), zipped(tmp_path / "a.zip", (name, b"x"))):
        with pytest.raises(DownloadError, match="leads out of the folder") as problem:
            unpack(path, folder)
        assert "\n" not in str(problem.value)
    assert not list(tmp_path.rglob("*evil*"))


@pytest.mark.parametrize("target", ["/etc/passwd", "../../x", "ok"])
@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_links_are_refused_wherever_they_lead(tmp_path, folder, target, kind):
    path = tar(tmp_path / "a.tar.gz", ("ok", b"ok"), link("l", target, kind), ("l/evil", b"x"))
    with pytest.raises(DownloadError, match="'l' is a link or a device"):
        unpack(path, folder)
    assert files(folder) == {"ok": b"ok"}


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_devices_are_refused(tmp_path, folder, kind):
    with pytest.raises(DownloadError, match="is a link or a device"):
        unpack(tar(tmp_path / "a.tar.gz", link("d", "", kind)), folder)


def test_links_in_a_zip(tmp_path, folder):
    info = zipfile.ZipInfo("l")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(DownloadError, match="is a link"):
        unpack(tmp_path / "a.zip", folder)


def test_a_name_that_stands_twice(tmp_path, folder):
    with pytest.raises(DownloadError, match="twice"):
        unpack(tar(tmp_path / "a.tar.gz", ("a", b"1"), ("./a", b"2")), folder)


@pytest.mark.parametrize("name", ["a.tar.gz", "a.zip", "a.tar"])
def test_archives_cut_short(tmp_path, folder, name):
    write = zipped if name.endswith("zip") else tar
    path = write(tmp_path / name, *[(f"f{i}", bytes(range(256)) * 40) for i in range(20)])
    path.write_bytes(path.read_bytes()[:-40] if name.endswith("zip") else path.read_bytes()[:300])
    with pytest.raises(DownloadError, match="no whole archive"):
        unpack(path, folder)
