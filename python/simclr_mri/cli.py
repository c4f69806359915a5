"""The command line: `simclr-mri demo | data | audit | pretrain | finetune | evaluate | explain | study | bench`.

Options are those of config.py, with the same names in Python, TOML and shell. They are merged in this order: defaults,
recipe, what the model was trained with, the file given by --config, the command line. A mistake ends in one line on
stderr; --debug shows where it happened.

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NoReturn

from .config import DEMO_CHOICES, SECTIONS
from .options import (
    RECIPES,
    add_arguments,
    check_names,
    did_you_mean,
    given_arguments,
    merged,
    read_toml,
    recipe_values,
)

# Which sections each command takes: its own options bare, those of others as --section.name. Of these it refuses what
# it would not use, and says why.
EVERY_ARM = {
    "finetune.init": "the starts are those of --inits",
    "finetune.label_fraction": "the shares of the labels are those of --label-fractions",
}
COMMANDS: dict[str, dict[str, Any]] = {
    "demo": {
        "help": "the whole experiment on phantoms, in minutes",
        "bare": ("demo", "study", "run"),
        "prefixed": ("data", "pretrain", "finetune"),
        "refused": {
            **EVERY_ARM,
            "data.image_size": "the size of the phantoms is --image-size",
            "data.groups": "the phantoms' subjects are known",
            "data.errors": "the phantoms can all be read",
            "data.folds": "the number of folds is --splits",
            "data.fold": "all folds of --splits are tested",
        },
        "recipe": "quick",
        "examples": ["simclr-mri demo", "simclr-mri demo --out /tmp/demo --pretrain.epochs 10 --label-fractions 0.1 1"],
    },
    "data": {
        "help": "what is in a folder: classes, subjects, the split",
        "bare": ("data", "run"),
        "data": "required",
        "examples": ["simclr-mri data Dataset/", "simclr-mri data Dataset/ --task cdr0 --out look/"],
    },
    "audit": {
        "help": "leaks, copies and trivial baselines of a data set: a verdict and a page",
        "bare": ("audit", "run"),
        "data": "required",
        "examples": [
            "simclr-mri audit Dataset/ --task 3class",
            "simclr-mri audit Dataset/ --groups subjects.csv:subject",
        ],
    },
    "pretrain": {
        "help": "SimCLR on images, without labels",
        "bare": ("data", "pretrain", "run"),
        "data": "required",
        "examples": [
            "simclr-mri pretrain Dataset/ --out runs/ssl",
            "simclr-mri pretrain Dataset/ --recipe seed --epochs 2 --out runs/seed",
            "simclr-mri pretrain Dataset/ --arch resnet18 --image-size 64 --sharpness sam",
        ],
    },
    "finetune": {
        "help": "train a classifier on labels",
        "bare": ("data", "finetune", "run"),
        "data": "optional",
        "examples": [
            "simclr-mri finetune Dataset/ --init runs/ssl --label-fraction 0.1 --out runs/clf",
            "simclr-mri finetune Dataset/ --init random --arch resnet18",
            "simclr-mri finetune Dataset/ --init resnet50.safetensors",
        ],
    },
    "evaluate": {
        "help": "scores of a classifier, by slice and by subject",
        "bare": ("evaluate", "data", "run"),
        "data": "optional",
        "model": True,
        "examples": ["simclr-mri evaluate runs/clf", "simclr-mri evaluate runs/clf Other/ --on test"],
    },
    "explain": {
        "help": "heat maps of a classifier",
        "bare": ("explain", "data", "run"),
        "data": "optional",
        "model": True,
        "examples": [
            "simclr-mri explain runs/clf",
            "simclr-mri explain runs/clf --layer layer2 --target Mild_Demented",
        ],
    },
    "study": {
        "help": "starts x label fractions x seeds x splits, one table",
        "bare": ("study", "data", "run"),
        "prefixed": ("pretrain", "finetune"),
        "refused": {**EVERY_ARM, "fold": "all folds of --splits are tested"},
        "data": "required",
        "examples": [
            "simclr-mri study Dataset/ --recipe quick --image-size 64 --out runs/study",
            "simclr-mri study Dataset/ --inits random simclr --label-fractions 0.1 1 --seeds 3 --finetune.epochs 30",
            "simclr-mri study Dataset/ --task 3class --splits 5 --label-fractions 0.1 1 --lrs 1e-4 3e-4 1e-3",
        ],
    },
    "bench": {
        "help": "how fast training and inference are on this machine",
        "bare": ("bench", "run"),
        "examples": [
            "simclr-mri bench --precision fp32 bf16",
            "simclr-mri bench --rows resnet18 --n-jobs 1 --layers",
            "simclr-mri bench --peer",
        ],
    },
}


class Parser(argparse.ArgumentParser):
    """Mistakes end in one line that names what was meant, not in a page of usage."""

    refused: Mapping[str, str] = MappingProxyType({})  # why, by option

    def error(self, message: str) -> NoReturn:
        """Exit with 2."""
        self.exit(2, f"{self.prog}: error: {self._nearest(message)} See {self.prog} --help\n")

    def _nearest(self, message: str) -> str:
        found = re.search(r"invalid choice: '(.*?)' \(choose from (.*)\)$", message)
        if found is None:
            return message + "."
        known = ["none" if word == "None" else word for word in re.findall(r"[\w.-]+", found[2])]
        what = message[: found.start()].removeprefix("argument ").removesuffix(": ")
        if what == "COMMAND":
            return f"there is no command '{found[1]}'.{did_you_mean(found[1], known)}"
        return f"{what} '{found[1]}' is unknown.{did_you_mean(found[1], known)}"

    def unknown(self, words: Sequence[str]) -> NoReturn:
        """Exit with 2 for what no option and no argument took."""
        known = [name for action in self._actions for name in action.option_strings]
        option = words[0].split("=")[0]
        if not option.startswith("-"):
            self.error(f"unexpected '{' '.join(words)}'")
        if option in self.refused:
            self.error(f"{option} is not used here: {self.refused[option]}")
        near = did_you_mean(option, known)
        self.exit(
            2, f"{self.prog}: error: unknown option {option}.{near if 'mean' in near else ''} See {self.prog} --help\n"
        )


def build_parser() -> Parser:
    """The parser of all commands."""
    parser = Parser(
        prog="simclr-mri",
        description="SimCLR pretraining, fine-tuning and heat maps for brain MRI slices, on a CPU.",
        epilog="Start with: simclr-mri demo. Each command has its own --help. A research tool, not a medical device.",
    )
    parser.add_argument("--version", action="store_true", help="print versions, processor and libraries, and exit")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for name, about in COMMANDS.items():
        _add_command(commands, name, about)
    return parser


def _add_command(commands: Any, name: str, about: dict[str, Any]) -> None:
    examples = "\n".join(f"  {line}" for line in about["examples"])
    command = commands.add_parser(
        name,
        help=about["help"],
        description=f"{about['help'][0].upper()}{about['help'][1:]}.",
        epilog=f"examples:\n{examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    command.set_defaults(parser=command)
    refused = about.get("refused", {})
    command.refused = {_flag(name): why for name, why in refused.items()}
    if about.get("model"):
        command.add_argument("model", metavar="MODEL", help="run folder or checkpoint of a classifier")
    if about.get("data") == "required":
        command.add_argument("path", metavar="DATA", help="folder with one sub-folder of images a class")
    elif about.get("data") == "optional":
        command.add_argument(
            "path",
            metavar="DATA",
            nargs="?",
            default=argparse.SUPPRESS,
            help="folder of images (default: the model's own)",
        )
    command.add_argument(
        "--recipe",
        choices=RECIPES,
        default=argparse.SUPPRESS,
        help=f"named set of options (default: {about.get('recipe', 'default')})",
    )
    command.add_argument("--config", metavar="FILE", help="TOML file with tables [data], [pretrain], ... of options")
    command.add_argument("--debug", action="store_true", help="show where an error happened")
    recipe = about.get("recipe", "default")
    for section, prefix in [(s, "") for s in about["bare"]] + [(s, f"{s}.") for s in about.get("prefixed", ())]:
        skip = ["path", "recipe", *(key.removeprefix(prefix) for key in refused)]
        defaults = recipe_values(recipe, section, SECTIONS[section])
        if name == "demo":
            defaults |= DEMO_CHOICES.get(section, {})
        add_arguments(command, SECTIONS[section], prefix, skip, defaults)


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


class Settings:
    """The merged sections of one command: `settings.data`, `settings.pretrain`, ...

    Parameters
    ----------
    args : argparse.Namespace
    inherited : dict of str to dict
        What the model that is built upon was trained with: "recipe", and sections such as "data".
    """

    def __init__(self, args: argparse.Namespace, inherited: dict[str, Any] | None = None) -> None:
        about, inherited = COMMANDS[args.command], inherited or {}
        file = read_toml(args.config) if args.config else {}
        named = file.pop("recipe", None)
        check_sections(file, args.config)
        _note_refused(file, about, args.config)
        self.recipe = (
            getattr(args, "recipe", None) or named or inherited.get("recipe") or about.get("recipe", "default")
        )
        self.sections: dict[str, Any] = {}
        for name, section in SECTIONS.items():
            given = given_arguments(args, section, f"{name}." if name in about.get("prefixed", ()) else "")
            if name not in about["bare"] and name not in about.get("prefixed", ()):
                given = {}
            sources = [
                (f"recipe {self.recipe}", recipe_values(self.recipe, name, section)),
                ("the model", inherited.get(name, {})),
                (str(args.config), file.get(name, {})),
                ("command line", given),
            ]
            if "recipe" in section.__dataclass_fields__:
                sources.append(("recipe", {"recipe": self.recipe}))
            self.sections[name] = merged(name, section, sources)

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["sections"][name]
        except KeyError:
            raise AttributeError(name) from None


def _note_refused(file: dict[str, Any], about: dict[str, Any], where: str) -> None:
    """A file may serve several commands, so what this one does not use is no mistake there, but it is said."""
    for option, why in about.get("refused", {}).items():
        section, _, name = option.rpartition(".")
        if any(name in file.get(table, {}) for table in ([section] if section else about["bare"])):
            warnings.warn(f"{where}: {name} is not used here: {why}", stacklevel=2)


def check_sections(file: dict[str, Any], where: str) -> None:
    """ValueError for a table that is no section, or an option outside of any."""
    for name, values in file.items():
        if name not in SECTIONS:
            raise ValueError(f"{where}: unknown table [{name}].{did_you_mean(name, SECTIONS)}")
        if not isinstance(values, dict):
            raise ValueError(f"{where}: '{name}' is not in a table such as [pretrain]")
        check_names(SECTIONS[name], values, f"{where} [{name}]")


def _show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    if issubclass(category, (DeprecationWarning, PendingDeprecationWarning)):
        return
    print(f"simclr-mri: note: {message}", file=sys.stderr, flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code."""
    try:
        return _main(argv)
    except KeyboardInterrupt:
        print("simclr-mri: stopped; the same command goes on from here", file=sys.stderr)
        return 130


def _main(argv: Sequence[str] | None) -> int:
    parser = build_parser()
    args, left = parser.parse_known_args(argv)
    if left:
        (args.parser if args.command else parser).unknown(left)
    if args.version:
        return _run(_version, args)
    if args.command is None:
        parser.print_help()
        return 2
    with _without_display(), warnings.catch_warnings():
        warnings.simplefilter("default")
        warnings.showwarning = _show_warning
        return _run(_command, args)


@contextlib.contextmanager
def _without_display() -> Iterator[None]:
    """Pictures go to files. The caller's environment is as it was afterwards: processes started later inherit it."""
    if "MPLBACKEND" in os.environ:
        yield
        return
    os.environ["MPLBACKEND"] = "agg"  # read when matplotlib is first imported, which here is later
    try:
        yield
    finally:
        os.environ.pop("MPLBACKEND", None)


def _version(_: argparse.Namespace) -> int:
    from . import show_versions

    show_versions()
    return 0


def _command(args: argparse.Namespace) -> int:
    from . import commands

    return getattr(commands, args.command)(args) or 0


def _run(work: Callable[[argparse.Namespace], int], args: argparse.Namespace) -> int:
    """The exit code of `work`, whose imports may fail too: the core refuses an unknown SMRI_ISA when it is loaded."""
    try:
        return work(args)
    except BrokenPipeError:  # the reader of our output, such as head, went away
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (ValueError, OSError, MemoryError, ArithmeticError, ImportError) as error:
        if getattr(args, "debug", False):
            raise
        print(f"{' '.join(['simclr-mri', *filter(None, [args.command])])}: error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
