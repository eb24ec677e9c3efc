"""Fingerprint of the code a rule runs.

Snakemake does not see an edit of an imported module, and sees a touched script as a
change. The fingerprint takes the place of its `code` trigger: it is a parameter of every
rule, so a job runs again when, and only when, the meaning of its code changed.
"""

import ast
import hashlib
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parent
# How a job is run and recorded does not change what it computes.
NOT_SCIENCE = {"sluice", "sluice.job"}


def fingerprint(script):
    """Hash a script together with every module of this package that it imports.

    Comments, docstrings and layout do not count. Imports are followed through the
    package, wherever in a module they stand; `sluice.job` and what only it imports are
    left out, since they decide how a job runs and not what it computes.

    Parameters
    ----------
    script : str or Path
        A script of the workflow.

    Returns
    -------
    str
        12 hexadecimal digits.
    """
    digest = hashlib.sha256(_meaning(Path(script)).encode())
    seen, queue = set(), sorted(_imports(Path(script)))
    while queue:
        name = queue.pop(0)
        if name in seen:
            continue
        seen.add(name)
        queue += sorted(_imports(_module_path(name)))
    for name in sorted(seen):
        digest.update(f"{name}\n{_meaning(_module_path(name))}".encode())
    return digest.hexdigest()[:12]


@cache
def _tree(path):
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def _meaning(path):
    """Source text without comments, docstrings and layout."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            first = body[0].value
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                body[0] = ast.Pass()
    return ast.unparse(tree)


def _module_path(name):
    """File of a module of this package, or None for a name that is not a module."""
    base = PACKAGE.parent.joinpath(*name.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


@cache
def _imports(path):
    """Names of the modules of this package that one file imports."""
    names = set()
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            # `from sluice.ephys import filters` may name a module or something inside one.
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(
        n for n in names if n.split(".")[0] == "sluice" and n not in NOT_SCIENCE and _module_path(n)
    )
