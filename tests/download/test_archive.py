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
            archive.writestr(zipfile.ZipInfo(name), content)
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


def test_archives_that_grow_beyond_measure(tmp_path, folder, monkeypatch):
    from pyserini_jpq.download import archive

    monkeypatch.setattr(archive, "_LEAST", 1 << 16)
    many = [(f"{i}", bytes(1 << 16)) for i in range(200)]
    for path in (tar(tmp_path / "a.tar.gz", *many),):
        with pytest.raises(DownloadError, match="more than such an archive"):
            unpack(path, folder)
    with zipfile.ZipFile(tmp_path / "b.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("x", bytes(1 << 25))
    with pytest.raises(DownloadError, match="more than such an archive"):
        unpack(tmp_path / "b.zip", folder)
    assert sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) < 1 << 24


def test_an_archive_that_the_disk_cannot_hold(tmp_path, folder, monkeypatch):
    import shutil

    path = tar(tmp_path / "a.tar.gz", ("x", bytes(1000)))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**6, 10**6 - 999, 999))
    with pytest.raises(DownloadError, match="or the disk, can hold"):
        unpack(path, folder)


def test_files_with_holes_and_endless_names(tmp_path, folder):
    holes = tarfile.TarInfo("x")
    holes.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": str(1 << 40)}
    holes.size = 512
    with tarfile.open(tmp_path / "h.tar", "w", format=tarfile.PAX_FORMAT) as file:
        file.addfile(holes, io.BytesIO(b"1\n0\n512\n".ljust(512, b"\0")))
    with pytest.raises(DownloadError, match="'x' has holes"):
        unpack(tmp_path / "h.tar", folder)
    with tarfile.open(tmp_path / "n.tar.gz", "w:gz", format=tarfile.GNU_FORMAT) as file:
        file.addfile(tarfile.TarInfo("x" * (1 << 20)))
    with pytest.raises(DownloadError, match="1048577 bytes of fields for one file"):
        unpack(tmp_path / "n.tar.gz", folder)


def test_a_zip_whose_files_begin_before_it(tmp_path, folder):
    path = zipped(tmp_path / "a.zip", ("x", b"hello"))
    content = bytearray(path.read_bytes())
    for place, more in ((-6, 1000), (-6, 3)):  # the offset of the directory, in the last 22 bytes
        content[place : place + 4] = (int.from_bytes(content[place : place + 4], "little") + more).to_bytes(4, "little")
        path.write_bytes(content)
        with pytest.raises(DownloadError, match=r"a.zip is no whole archive"):
            unpack(path, folder)


def test_a_zip_behind_a_password(tmp_path, folder):
    path = zipped(tmp_path / "a.zip", ("x", b"hello"))
    raw = bytearray(path.read_bytes())
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        raw[raw.index(mark) + place] |= 1
    path.write_bytes(raw)
    with pytest.raises(DownloadError, match=r"cannot be unpacked .*password"):
        unpack(path, folder)


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


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["a", "a/b"], "holds b twice"),
        (["a/b", "a"], "holds a twice"),
        (["."], "holds out twice"),
        ([""], "has no name"),
        (["x" * 5000], "too long a name"),
    ],
)
@pytest.mark.parametrize("write", [tar, zipped])
def test_names_that_no_folder_can_hold(tmp_path, folder, write, names, reason):
    path = write(tmp_path / ("a.tar.gz" if write is tar else "a.zip"), *((name, b"x") for name in names))
    with pytest.raises(DownloadError, match=reason):
        unpack(path, folder)


@pytest.mark.parametrize("name", ["a.tar.gz", "a.zip", "a.tar"])
def test_archives_cut_short(tmp_path, folder, name):
    write = zipped if name.endswith("zip") else tar
    path = write(tmp_path / name, *[(f"f{i}", bytes(range(256)) * 40) for i in range(20)])
    path.write_bytes(path.read_bytes()[:-40] if name.endswith("zip") else path.read_bytes()[:300])
    with pytest.raises(DownloadError, match="no whole archive"):
        unpack(path, folder)
