"""What pyproject.toml cannot say: cards in the wheel, the .pth file that gives pyserini a Java, the C++ extension."""

import glob
import os
import shutil

from setuptools import Extension, setup
from setuptools.command.build_py import build_py
from setuptools.command.editable_wheel import editable_wheel

CARDS = ("encoders", "indexes", "collections")

# Python runs this one line whenever it starts. It puts an object of one method first among the finders of modules: when
# pyserini is imported, and not before, that imports pyserini_jpq's import hook. So `python -m pyserini.eval.trec_eval`
# works without a JDK, too. PYSERINI_JPQ_JAVA=off turns it off. (In a virtual environment Python runs the line twice.)
PTH_NAME = "pyserini_jpq.pth"
PTH_CODE = """\
class PyseriniJPQ:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == 'pyserini':
            try:
                from pyserini_jpq.compat.hook import install_import_hook
                install_import_hook()
            except ImportError:
                pass

if not any(getattr(finder, '__name__', '') == 'PyseriniJPQ' for finder in sys.meta_path):
    sys.meta_path.insert(0, PyseriniJPQ)
"""
PTH_LINE = f"import os, sys; os.environ.get('PYSERINI_JPQ_JAVA') == 'off' or exec({PTH_CODE!r})\n"


def write_pth(folder: str) -> None:
    """Write the .pth file into the folder that becomes site-packages."""
    with open(os.path.join(folder, PTH_NAME), "w", encoding="utf-8") as file:
        file.write(PTH_LINE)


class BuildWithCards(build_py):
    """Builds the package with the YAML cards of the top-level folders in pyserini_jpq/cards/."""

    def run(self) -> None:
        """Copy the package, then the cards and the .pth file."""
        super().run()
        if self.editable_mode:
            return  # the cards are read where they lie, and EditableWithPth writes the .pth file
        for source, target in self._cards():
            os.makedirs(os.path.dirname(target), exist_ok=True)
            shutil.copyfile(source, target)
        write_pth(self.build_lib)

    def get_source_files(self) -> list[str]:
        """Return what belongs into a source distribution."""
        return [*super().get_source_files(), *(source for source, _ in self._cards())]

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        """Return what is built."""
        built = list(super().get_outputs(include_bytecode))
        if not self.editable_mode:
            built += [target for _, target in self._cards()] + [os.path.join(self.build_lib, PTH_NAME)]
        return built

    def _cards(self) -> list[tuple[str, str]]:
        cards = [card for folder in CARDS for card in sorted(glob.glob(f"{folder}/*.yaml"))]
        return [(card, os.path.join(self.build_lib, "pyserini_jpq", "cards", card)) for card in cards]


class EditableWithPth(editable_wheel):
    """Makes `pip install -e` write the .pth file, too."""

    def _configure_build(self, name, unpacked_wheel, build_lib, tmp_dir):  # type: ignore[no-untyped-def]
        super()._configure_build(name, unpacked_wheel, build_lib, tmp_dir)
        write_pth(str(unpacked_wheel))


def extensions() -> list[Extension]:
    """Return the compiled scan; without a compiler it is left out, and search uses faiss."""
    try:
        from pybind11.setup_helpers import Pybind11Extension
    except ImportError:  # pip install --no-build-isolation without it
        return []
    scan = Pybind11Extension("pyserini_jpq.scan._native", sorted(glob.glob("pyserini_jpq/scan/src/*.cpp")), cxx_std=17)
    scan.depends = sorted(glob.glob("pyserini_jpq/scan/src/*.h"))
    scan.optional = True
    if os.name != "nt":
        # Scores are sums in float32 in a given order; nothing may be contracted or reordered.
        scan.extra_compile_args += ["-O3", "-ffp-contract=off", "-Wall", "-Wextra", "-pthread"]
        scan.extra_link_args += ["-pthread"]
    return [scan]


setup(
    cmdclass={"build_py": BuildWithCards, "editable_wheel": EditableWithPth},
    ext_modules=extensions(),
)
