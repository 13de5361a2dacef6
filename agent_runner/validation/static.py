"""Faults that can be seen without running anything."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

from agent_runner.records import Problem


def check_static(files: Mapping[str, str]) -> list[Problem]:
    """Compile every Python file (name -> text); a file that cannot be compiled is a certain fault."""
    problems = []
    for name, text in files.items():
        if not name.endswith(".py"):
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the author's SyntaxWarnings are not ours to raise
                compile(text, name, "exec", dont_inherit=True)
        except (SyntaxError, ValueError) as error:
            line = getattr(error, "lineno", None)
            code = (getattr(error, "text", None) or "").strip()
            shown = f": `{code}`" if code else ""
            problems.append(
                Problem(
                    kind="syntax_error",
                    message=f"{name}:{line}: {getattr(error, 'msg', error)}{shown}",
                    path=name,
                    line=line,
                )
            )
        except (RecursionError, MemoryError) as error:
            problems.append(
                Problem(
                    kind="syntax_error",
                    message=f"{name} is nested too deeply to be compiled ({type(error).__name__})",
                    path=name,
                )
            )
    return problems
