"""The script of `simclr-mri completion` in the shells themselves: each is asked what it offers at the end of a line."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess

import pytest

from simclr_mri.cli import COMMANDS, main

ARCHS = {"resnet18", "resnet101"}
LINES = {
    "simclr-mri ": set(COMMANDS),
    "simclr-mri pre": {"pretrain", "predict"},
    "simclr-mri pretrain Data": {"Dataset"},
    "simclr-mri pretrain My": {"My data"},
    "simclr-mri pretrain Kö": {"Köpfe"},
    "simclr-mri pretrain Dataset --ep": {"--epochs"},
    "simclr-mri pretrain Dataset --no-nes": {"--no-nesterov"},
    "simclr-mri pretrain Dataset --arch resnet1": ARCHS,
    "simclr-mri pretrain Dataset --arch=resnet1": ARCHS,
    "simclr-mri pretrain Dataset --arch=resnet18 --ep": {"--epochs"},
    "simclr-mri pretrain Dataset --groups sub": {"subjects.csv"},
    "simclr-mri pretrain Dataset --cache Data": {"Dataset"},
    "simclr-mri pretrain Dataset --out=ru": {"runs"},
    "simclr-mri finetune Dataset --track mlflow --track-to ru": {"runs"},
    "simclr-mri evaluate runs/c": {"runs/clf"},
    "simclr-mri evaluate runs/clf Data": {"Dataset"},
    "simclr-mri evaluate runs/clf --on ": {"train", "val", "test", "all", "none"},
    "simclr-mri compare runs/clf runs/s": {"runs/ssl"},
    "simclr-mri study Dataset --inits random runs/s": {"runs/ssl"},
    "simclr-mri study Dataset --label-fractions 0.1 1 --work": {"--workers"},
    "simclr-mri study Dataset --pretrain.opt": {"--pretrain.optimizer"},
    "simclr-mri completion ": {"bash", "zsh", "fish"},
    "simclr-mri help fine": {"finetune"},
}

BASH = """
source completion
while IFS= read -r asked; do
    COMP_LINE=$asked COMP_POINT=${#asked} COMP_WORDS=() COMPREPLY=()
    while read -r word; do COMP_WORDS+=("$word"); done < <(grep -o '[^ =]\\+\\|=' <<< "$asked")
    [[ $asked != *[\\ =] ]] || COMP_WORDS+=("")
    COMP_CWORD=$(( ${#COMP_WORDS[@]} - 1 ))
    function_=$(complete -p simclr-mri | sed 's/.*-F \\([^ ]*\\).*/\\1/')
    $function_ simclr-mri "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
    printf '%s\\n' "== $asked" "${COMPREPLY[@]}"
done < lines
"""

FISH = """
source completion
while read --line line
    echo "== $line"
    complete -C "$line" | cut -f 1
end < lines
"""

# zsh completes on a terminal only. What is handed to compadd is written down, unless it asks for what already fits.
ZSH = """
eval "$(cat completion)"
compadd() {
    local -a kept
    if [[ " $* " != *" -"[OAD]" "* ]]; then
        builtin compadd -O kept "$@"
        print -rl -- "${(@Q)kept}" >> answers
    fi
    builtin compadd "$@"
}
ask() {
    local line
    for line in "${(@f)$(<lines)}"; do
        print -r -- "== $line" >> answers
        BUFFER=$line CURSOR=${#line}
        zle list-choices
    done
    exit
}
zle -N ask
bindkey '^X' ask
print READY
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with what the lines speak of, and the lines."""
    folder = tmp_path_factory.mktemp("place")
    for name in ("Dataset/A", "runs/clf", "runs/ssl", "My data", "Köpfe"):
        (folder / name).mkdir(parents=True)
    (folder / "subjects.csv").touch()
    (folder / "lines").write_text("\n".join(LINES) + "\n", encoding="utf-8")
    return folder


def write_script(shell, path):
    with path.open("w", encoding="utf-8") as file, contextlib.redirect_stdout(file):
        assert main(["completion", shell]) == 0


def offered(place, shell):
    """Words by line, as the shell answers."""
    pytest.importorskip("shtab")
    write_script(shell, place / "completion")
    if shell == "zsh":
        text = ask_zsh(place)
    else:
        line = ["fish", "--no-config", "-c", FISH] if shell == "fish" else ["bash", "-c", BASH]
        text = subprocess.run(line, cwd=place, capture_output=True, text=True, check=True).stdout
    found = {}
    for part in text.split("== ")[1:]:
        line, *words = part.split("\n")
        found[line] = {re.sub(r"\\(.)", r"\1", word).rstrip("/") for word in words if word.strip()}
    return found


def ask_zsh(place):
    pexpect = pytest.importorskip("pexpect")
    (place / "ask.zsh").write_text(ZSH, encoding="utf-8")
    (place / "answers").touch()
    child = pexpect.spawn("zsh", ["-f", "-i"], cwd=str(place), env={"TERM": "dumb", "LANG": "C.UTF-8"}, timeout=60)
    child.sendline("source ./ask.zsh")
    child.expect("READY\r")
    child.send("\x18")
    child.expect(pexpect.EOF)
    return (place / "answers").read_text(encoding="utf-8")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_completes(shell, place):
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell}")
    found = offered(place, shell)
    assert list(found) == list(LINES)
    for line, words in LINES.items():
        typed = line.rpartition(" ")[2]
        # a shell may offer a path or value whole, or what comes behind the last / or =
        short = {re.split("[/=]", word)[-1] for word in found[line]}
        assert short == {word.rpartition("/")[2] for word in words}, (line, typed)


@pytest.mark.skipif(shutil.which("zsh") is None, reason="no zsh")
def test_zsh_takes_the_script_from_a_file_too(place):
    """Sourced, as a function of fpath, and where nothing has called compinit."""
    write_script("zsh", place / "_simclr-mri")
    for start in ("source ./_simclr-mri", "fpath=($PWD $fpath); autoload -Uz compinit; compinit -u -D"):
        line = ["zsh", "-f", "-c", f"{start}; print ${{_comps[simclr-mri]}}"]
        done = subprocess.run(line, cwd=place, capture_output=True, text=True, check=True)
        assert done.stdout.strip() in ("_shtab_simclr_mri", "_simclr-mri") and not done.stderr, start
