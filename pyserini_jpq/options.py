"""Options of a stage: a frozen dataclass, whose fields make the flags of its command.

Values from the command line and from Python are checked by the same functions.
"""

import argparse
import dataclasses
from collections.abc import Callable, Collection, Mapping
from typing import Any, Self, TypeVar

from pyserini_jpq.errors import JPQError

T = TypeVar("T", bound="Options")


def option(
    default: Any,
    text: str,
    kind: Callable[[str], Any] = str,
    choices: tuple[Any, ...] | None = None,
    flag: str | None = None,
    metavar: str | None = None,
) -> Any:
    """Return the dataclass field of an option.

    Parameters
    ----------
    default
        Default value; None if it is decided later.
    text
        Help of the flag.
    kind
        Parses and checks the flag's text, as an argparse type.
    choices
        Permitted values.
    flag
        Name of the flag; by default the field's, with dashes.
    metavar
        Placeholder of the value in the help.
    """
    about = {"help": text, "type": kind, "choices": choices, "flag": flag, "metavar": metavar}
    return dataclasses.field(default=default, metadata=about)


def yes_or_no(text: str) -> bool:
    """Parse yes or no, as an argparse type: `--flag yes`."""
    if text not in ("yes", "no"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither yes nor no")
    return text == "yes"


def switch(text: str) -> bool:
    """Parse an option whose flag has no value: `--flag` is true."""
    return yes_or_no(text)


def on_or_off(text: str) -> bool:
    """Parse an option whose flag has an opposite: `--flag` is true, `--no-flag` false."""
    return yes_or_no(text)


_ACTIONS: dict[Any, Any] = {switch: "store_true", on_or_off: argparse.BooleanOptionalAction}
_TRUTHS = (yes_or_no, switch, on_or_off)


@dataclasses.dataclass(frozen=True)
class Options:
    """The base of all options.

    Raises
    ------
    JPQError
        If the flag of the same name would not accept a value.
    """

    def __post_init__(self) -> None:
        """Check every value as its flag is checked, and convert it to the flag's type."""
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if "type" in field.metadata and value is not None:
                object.__setattr__(self, field.name, _checked(field, value, type(self).__name__))

    @classmethod
    def of(cls, options: Self | None, **defaults: Any) -> Self:
        """Return the options that were given, or those of the defaults for None; raise JPQError for anything else."""
        if options is None:
            return cls(**defaults)
        if not isinstance(options, cls):
            raise JPQError(f"options are {type(options).__name__}; expected {cls.__name__}(...)")
        return options


def add_flags(parser: Any, options: type[Options], names: Collection[str] | None = None) -> None:
    """Add the flags of options to a parser or group; flags that are not given are left unset.

    Parameters
    ----------
    parser
        An `argparse` parser or group.
    options
        The class of options.
    names
        Names of the fields to add; all by default.
    """
    for field in dataclasses.fields(options):
        if "type" not in field.metadata or (names is not None and field.name not in names):
            continue
        about = field.metadata
        name = about["flag"] or "--" + field.name.replace("_", "-")
        keep: dict[str, Any] = {"dest": field.name, "default": argparse.SUPPRESS}
        if action := _ACTIONS.get(about["type"]):
            parser.add_argument(name, action=action, help=about["help"], **keep)
            continue
        parser.add_argument(
            name,
            type=about["type"],
            choices=about["choices"],
            metavar="yes|no" if about["type"] is yes_or_no else about["metavar"],
            help=about["help"] + _shown(field.default),
            **keep,
        )


def from_flags(options: type[T], given: Mapping[str, Any], **defaults: Any) -> T:
    """Return options from the flags that were given.

    Parameters
    ----------
    options
        The class of options.
    given
        Values by field, such as `vars(args)`; other names are ignored.
    **defaults
        Values for fields whose flags were not given.
    """
    names = {field.name for field in dataclasses.fields(options)}
    return options(**{**defaults, **{name: value for name, value in given.items() if name in names}})


def _checked(field: "dataclasses.Field[Any]", value: Any, where: str) -> Any:
    kind, choices = field.metadata["type"], field.metadata["choices"]
    text = ("no", "yes")[value] if kind in _TRUTHS and isinstance(value, bool) else str(value)
    try:
        checked = kind(text)
    except (argparse.ArgumentTypeError, ValueError) as problem:
        raise JPQError(f"{where}: {field.name} {problem}") from None
    if choices and checked not in choices:
        raise JPQError(f"{where}: {field.name} {value!r} is not one of {', '.join(map(str, choices))}")
    return checked


def _shown(default: Any) -> str:
    if default in (None, ""):
        return ""
    return f" (default: {('no', 'yes')[default] if isinstance(default, bool) else default})"
