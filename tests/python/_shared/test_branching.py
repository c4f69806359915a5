"""What went wrong is told by types and facts, not by words of a message, which change with a library's next version."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import simclr_mri

PACKAGE = Path(simclr_mri.__file__).parent
WORDS = ("error", "warning", "failure", "exception", "message")


def is_of_a_message(node: ast.AST) -> bool:
    """Whether an expression is the text of an error or a warning: str(error), error.args[0], failure[1], message."""
    text = ast.unparse(node)
    named = any(isinstance(n, ast.Name) and n.id in (*WORDS, "e", "w", "m") for n in ast.walk(node))
    return named and (text.startswith("str(") or ".args" in text or text in WORDS or text in ("m", "failure[1]"))


def branches(tree: ast.Module):
    """Lines that look for words in such a text."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare) and isinstance(node.ops[0], (ast.In, ast.NotIn)):
            left_is_text = isinstance(node.left, ast.Constant) and isinstance(node.left.value, str)
            if left_is_text and is_of_a_message(node.comparators[0]):
                yield node.lineno
        is_method = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        if is_method and node.func.attr in ("startswith", "endswith", "find") and is_of_a_message(node.func.value):
            yield node.lineno


def test_no_branch_on_the_words_of_a_message():
    found = [
        f"{path.relative_to(PACKAGE)}:{line}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for line in branches(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert not found


@pytest.mark.parametrize(
    "code",
    [
        'if "left out" in str(warning): pass',
        'x = "bad" if "left out" in m else "note"',
        'if "no file" in failure[1]: pass',
        'if error.args[0].startswith("x"): pass',
        'if "x" not in message: pass',
    ],
)
def test_a_planted_branch_is_found(code):
    assert list(branches(ast.parse(code)))
