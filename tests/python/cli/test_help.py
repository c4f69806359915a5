"""Help fits on a screen and a half, and a switch is what it says."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys

import pytest

from simclr_mri import datasets
from simclr_mri.cli import COMMANDS, build_parser, main
from simclr_mri.cli._format import full_help, short_help
from simclr_mri.cli._table import SHORT_HELP


@pytest.mark.parametrize("columns", [80, 100])
@pytest.mark.parametrize("command", COMMANDS)
def test_help_fits_on_a_screen_and_a_half(command, columns, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    parser = build_parser().commands[command]
    text = short_help(parser)
    lines = text.splitlines()
    assert len(lines) <= 36 and max(map(len, lines)) < columns
    assert lines[0].startswith(f"usage: simclr-mri {command} ") and "examples:" in text
    everything = full_help(parser)
    for action in parser.all_options():
        assert re.search(rf"--(\w+\.)?(\[no-\])?{action.option_strings[0].split('.')[-1].lstrip('-')}\b", everything)
    for name in parser.common or ():
        assert name in {action.dest for action in parser.all_options()}, name  # no common option that is none
    left = re.search(r"(\d+) more options: simclr-mri (\S+) --help-all", text)
    n_common = len(parser.common or parser.all_options())
    assert (int(left[1]) if left else 0) == len(parser.all_options()) - n_common


@pytest.mark.parametrize("columns", [40, 60, 200])
def test_help_keeps_to_the_width(columns, monkeypatch):
    """Also lists of choices, usage and examples, which still can be pasted."""
    monkeypatch.setenv("COLUMNS", str(columns))
    root = build_parser()
    for parser in (root, *root.commands.values()):
        texts = [root.format_help()] if parser is root else [short_help(parser), full_help(parser)]
        for line in "\n".join(texts).splitlines():
            assert len(line) <= columns, f"{parser.prog}: {line}"
        if parser is not root:
            pasted = texts[1].partition("examples:")[2].replace("\\\n", "")
            meant = parser.epilog.partition("examples:")[2]
            assert shlex.split(pasted, comments=True) == shlex.split(meant, comments=True)


def test_a_short_text_means_one_thing():
    """Words that several commands share stand for one long text; where that differs, a command has words of its own."""
    parsers, told = build_parser().commands, {}
    for command, about in COMMANDS.items():
        common = about.get("common")
        for action in parsers[command].all_options():
            shared = action.dest in SHORT_HELP and f"{command}.{action.dest}" not in SHORT_HELP
            if shared and (common is None or action.dest in common):
                told.setdefault(action.dest, {}).setdefault(action.help.split(" (")[0], []).append(command)
    different = {name: long for name, long in told.items() if len(long) > 1}
    assert not different
    dests = {action.dest for parser in parsers.values() for action in parser.all_options()}
    assert {key.split(".", 1)[1] if key.split(".")[0] in COMMANDS else key for key in SHORT_HELP} <= dests


def test_the_default_of_out_is_where_results_go(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    datasets.write_phantoms(tmp_path / "d", n_subjects=20, slices=1, image_size=32)
    assert main(["audit", "d", "--no-baselines"]) == 0
    assert (tmp_path / "audit" / "audit.json").exists()
    assert "(default: audit)" in short_help(build_parser().commands["audit"])


def said(capsys, *line):
    """What `simclr-mri` says, whether it ends by itself or by the parser."""
    try:
        code = main(list(line))
    except SystemExit as stop:
        code = stop.code
    found = capsys.readouterr()
    return code, found.out, found.err


def test_help_is_a_command(capsys):
    assert said(capsys, "help")[1] == build_parser().format_help()
    assert said(capsys, "help", "pretrain") == said(capsys, "pretrain", "--help") == said(capsys, "pretrain", "-h")
    assert said(capsys, "help", "pretrain", "--all") == said(capsys, "pretrain", "--help-all")
    code, _, error = said(capsys, "help", "pretrian")
    assert code == 2 and "Did you mean 'pretrain'?" in error
    assert said(capsys, "-V") == said(capsys, "--version") and "simclr_mri" in said(capsys, "-V")[1]


@pytest.mark.parametrize(
    ("words", "value"),
    [
        ("--rgb-stem", True),
        ("--no-rgb-stem", False),
        ("--rgb-stem yes", True),
        ("--rgb-stem=no", False),
        ("--rgb-stem off", False),
    ],
)
@pytest.mark.parametrize("place", ["before", "behind"])
def test_switches(words, value, place):
    line = ["export", *words.split(), "RUN"] if place == "before" else ["export", "RUN", *words.split()]
    args = build_parser().parse_args(line)
    assert args.rgb_stem is value and args.model == "RUN"


def test_switches_of_other_sections_and_bad_ones(capsys):
    args = build_parser().parse_args(["study", "D", "--pretrain.no-normalize", "--finetune.nesterov"])
    assert vars(args)["pretrain.normalize"] is False and vars(args)["finetune.nesterov"] is True
    assert "takes no value" in said(capsys, "export", "RUN", "--no-rgb-stem=yes")[2]
    assert "Did you mean '--no-rgb-stem'?" in said(capsys, "export", "RUN", "--no-rgb-stm")[2]
    assert "--no-unlabelled is not used here" in said(capsys, "finetune", "D", "--no-unlabelled")[2]


def test_data_may_stand_behind_options(tmp_path, capsys):
    line = ["evaluate", str(tmp_path), "--on", "test", str(tmp_path / "other")]
    code, _, error = said(capsys, *line)
    assert (code == 1 and "unexpected" not in error and "no such" in error) or "no checkpoint" in error
    assert "unexpected" in said(capsys, *line, "third")[2]


def test_quiet_and_loud(tmp_path, capsys):
    datasets.write_phantoms(tmp_path / "d", n_subjects=20, slices=1, image_size=32)
    small = "--arch resnet18 --epochs 1 --batch-size 4 --task cdr0".split()
    line = ["pretrain", str(tmp_path / "d"), *small]
    code, out, error = said(capsys, *line, "--quiet", "--out", str(tmp_path / "run"))
    assert code == 0 and error == "" and out.splitlines() == [f"{tmp_path / 'run'}/: " + out.split("/: ")[1].strip()]
    code, out, error = said(capsys, *line, "-v", "--out", str(tmp_path / "run"))
    assert "--epochs 1  (command line)" in error and "--knn-every 5" in error and "holds a finished run" in out
    assert said(capsys, *line, "-v", "-q")[0] == 2


def test_colour_is_only_for_terminals(tmp_path):
    pexpect = pytest.importorskip("pexpect", reason="needs a terminal")
    command = f"-m simclr_mri data {tmp_path / 'nowhere'}"

    def in_terminal(**more):
        import os

        env = {k: v for k, v in os.environ.items() if k != "NO_COLOR"} | {"TERM": "xterm", **more}
        return pexpect.run(f"{sys.executable} {command}", env=env).decode()

    assert "\x1b[31merror\x1b[0m:" in in_terminal()  # the path goes on in a line of its own
    assert "\x1b" not in in_terminal(NO_COLOR="1") and "\x1b" not in in_terminal(TERM="dumb")
    done = subprocess.run([sys.executable, *command.split()], capture_output=True, text=True)
    assert "\x1b" not in done.stderr and "error: " in done.stderr
