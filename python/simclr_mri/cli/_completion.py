"""`simclr-mri completion`: a script with which bash, zsh or fish complete commands, options, choices and files.

shtab writes it. Added here is what shtab leaves out: values behind `--name=` and behind the first of several, and for
zsh a script that can be sourced, too, and where nothing has called compinit.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from typing import Any

FOLDERS = (
    "model",
    "path",
    "out",
    "under",
    "weights",
    "init",
    "inits",
    "starts",
    "runs",
    "cache",
    "track_to",
)  # or files; a shell shows both
FILES = (*FOLDERS, "config", "groups", "labels")
MORE_VALUES = 7  # of an option with several that zsh completes after the first
ZSH_START = """\
(( $+functions[compdef] )) || [[ ${zsh_eval_context[-1]} == loadautofunc ]] || { autoload -Uz compinit && compinit; }
"""
# fish completes files behind --name= itself; shtab's way hands it the whole word
FISH_FILES = r"^(complete .* -l [\w.-]+ )-xka \"\(__fish_complete_path \(commandline -ct\)\)\""
FISH_SEVERAL = """
function _simclr_mri_after -d 'whether this is the last option before the word that is typed'
  for word in (commandline -opc)[-1..1]
    string match -q -- '-*' $word; or continue
    test $word = $argv[1]; return
  end
  return 1
end
"""
BASH_EQUALS = """
# bash splits an option and its value at the = into three words; shtab's function knows two
_simclr_mri() {
  local at
  for (( at = COMP_CWORD; at > 0; at-- )); do
    if [[ ${COMP_WORDS[at]} == = && ${COMP_WORDS[at-1]} == --* ]]; then
      if (( at == COMP_CWORD )); then
        COMP_WORDS[at]=
      else
        COMP_WORDS=("${COMP_WORDS[@]:0:at}" "${COMP_WORDS[@]:at+1}")
        (( COMP_CWORD-- ))
      fi
    fi
  done
  _shtab_simclr_mri "$1" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
}
complete -o bashdefault -F _simclr_mri simclr-mri
"""


def completion(args: argparse.Namespace) -> int:
    """Print the script."""
    try:
        import shtab
    except ImportError:
        raise ImportError("completion needs shtab: pip install shtab") from None
    root = args.root
    for parser in _parsers(root):
        _prepare(parser, shtab.FILE)
    script = shtab.complete(root, shell=args.shell)
    if args.shell == "zsh":
        script = _for_zsh(script, root)
    elif args.shell == "bash":
        script += BASH_EQUALS
    else:
        script = re.sub(FISH_FILES, r"\1-rF", script, flags=re.MULTILINE) + FISH_SEVERAL + _for_fish(root)
    print(script)
    return 0


def _parsers(root: Any) -> Iterator[Any]:
    yield from (root, *root.commands.values())


def _prepare(parser: Any, files: Any) -> None:
    """Say which arguments are files, and write choices as they are typed."""
    for action in parser.all_actions():
        if action.dest.rpartition(".")[2] in FILES:
            action.complete = files
        if action.choices is not None and not isinstance(action.choices, dict):
            action.choices = ["none" if choice is None else str(choice) for choice in action.choices]


def _for_zsh(script: str, root: Any) -> str:
    """As `_arguments` has it: `--x=[...]` takes its value behind = too, and values after `::` may follow the first."""
    several = {name: action.nargs == "+" for parser in _parsers(root) for name, action in _options(parser)}
    for name, is_several in several.items():
        written = rf'^(  "{re.escape(name)})(\[(?:[^\]\\]|\\.)*\])(:.*)"$'
        more = r"\1\2\3" + MORE_VALUES * r":\3" + '"' if is_several else r'\1=\2\3"'
        script = re.sub(written, more, script, flags=re.MULTILINE)
    script = re.sub(r'^  "\(\*\):', '  "*:', script, flags=re.MULTILINE)
    head, end, tail = script.rpartition("if [[ $zsh_eval_context[-1] == eval ]]; then")
    return head + ZSH_START + end.replace("== eval", "!= loadautofunc") + tail


def _for_fish(root: Any) -> str:
    """Files behind the first value of an option that takes several."""
    return "\n".join(
        f"complete -c simclr-mri -n '_shtab_simclr_mri_using {command}; and _simclr_mri_after {name}' -F"
        for command, parser in root.commands.items()
        for name, action in _options(parser)
        if action.nargs == "+" and hasattr(action, "complete")
    )


def _options(parser: Any) -> Iterator[tuple[str, argparse.Action]]:
    """Those that take one value or more."""
    for action in parser.all_actions():
        yield from ((name, action) for name in action.option_strings if action.nargs in (None, "+"))
