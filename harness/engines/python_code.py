"""Python code with a profiler of torch or torch_npu: written, and read without running it."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

from harness.engines.notations import UnknownValueError, UnreadableError, nested
from harness.settings.request import Schedule
from harness.settings.schedule import steps_for

_ENUMERATIONS: Final = {
    "profiler_level": "ProfilerLevel",
    "aic_metrics": "AiCMetrics",
    "export_type": "ExportType",
    "host_sys": "HostSystem",
}
"""Arguments of torch_npu whose values are members of these."""
_OF_MEMBERS: Final = frozenset({"activities", *_ENUMERATIONS})
"""Arguments whose values are members of an enumeration; any other attribute is no constant."""
_CONFIG: Final = "_ExperimentalConfig"
_NOT_READ: Final = frozenset({"on_trace_ready", "acc_events"})
"""Arguments that change nothing of what is recorded."""
_AS_WRITTEN: Final = frozenset({"use_cuda", "execution_trace_observer", "custom_trace_id_callback"})
"""Arguments that no setting of ours means: whatever they are, they are named."""
_DEEPEST: Final = 50
_WRITTEN_APART: Final = ("activities", "schedule", "folder", "experimental_config")


class PythonCode:
    """A program that makes one profiler, by constants."""

    def __init__(self, module: str) -> None:
        """`module`: the module of the profiler, ``torch.profiler`` or ``torch_npu.profiler``."""
        self.module = module

    def text(self, values: Mapping[str, Any]) -> str:
        """Return a program that makes the profiler and runs its steps."""
        tree = nested(values)
        schedule = tree["schedule"]
        config = self._config(tree.get("experimental_config", {}))
        arguments = [
            f"activities=[{', '.join(map(self._activity, tree['activities']))}]",
            f"schedule={self.module}.schedule({_keywords(schedule)})",
            f"on_trace_ready={self.module}.tensorboard_trace_handler({tree['folder']!r})",
            *(f"{name}={tree[name]!r}" for name in tree if name not in _WRITTEN_APART),
            *(["experimental_config=experimental_config"] if config else []),
        ]
        steps = steps_for(Schedule(**schedule), schedule["repeat"])
        lines = [
            *self._imports(with_config=bool(config)),
            *config,
            "",
            f"with {self.module}.profile(",
            *(f"    {argument}," for argument in arguments),
            ") as profiler:",
            f"    for step in range({steps}):",
            "        ...  # one step of your program",
            "        profiler.step()",
        ]
        return "\n".join(lines) + "\n"

    def _imports(self, *, with_config: bool) -> list[str]:
        if self._is_npu:
            return ["import torch", "import torch_npu"]
        config = [f"from torch._C._profiler import {_CONFIG}"] if with_config else []
        return ["import torch", *config]

    def _config(self, settings: Mapping[str, Any]) -> list[str]:
        """Return the lines that make the experimental configuration; none if all is default."""
        changed = {
            name: value
            for name, value in settings.items()
            if self._is_npu or value not in ([], "", False)
        }
        if not changed:
            return []
        name = f"{self.module}.{_CONFIG}" if self._is_npu else _CONFIG
        lines = [f"    {key}={self._value(key, value)}," for key, value in changed.items()]
        return ["", f"experimental_config = {name}(", *lines, ")"]

    @property
    def _is_npu(self) -> bool:
        return self.module.startswith("torch_npu")

    def _activity(self, name: str) -> str:
        return f"{self.module}.ProfilerActivity.{name}"

    def _value(self, name: str, value: Any) -> str:
        enumeration = _ENUMERATIONS.get(name) if self._is_npu else None
        if enumeration is None:
            return repr(value)
        if isinstance(value, list):
            return f"[{', '.join(f'{self.module}.{enumeration}.{item}' for item in value)}]"
        return f"{self.module}.{enumeration}.{value}"

    def values(self, text: str) -> dict[str, Any]:
        """Return the arguments of the one profiler that a program makes."""
        try:
            tree = ast.parse(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise UnreadableError(f"it is no Python: {error}") from error
        if _names(tree, "torch_npu") != self._is_npu:
            how = "imports no" if self._is_npu else "imports"
            raise UnreadableError(f"it {how} torch_npu, and so it is for another device")
        calls = list(_calls(tree, "profile"))
        if not calls:
            raise UnreadableError("it calls no profile() of torch or torch_npu")
        if len(calls) > 1:
            lines = ", ".join(str(call.lineno) for call in calls)
            raise UnreadableError(f"it makes several profilers, in lines {lines}: keep one of them")
        return dict(_arguments(calls[0], _constants(tree), ""))


def _keywords(arguments: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in arguments.items())


def _names(tree: ast.AST, module: str) -> bool:
    """Tell whether a program imports a module, or names it."""
    for node in ast.walk(tree):
        imported = node.names if isinstance(node, ast.Import | ast.ImportFrom) else []
        words = [alias.name for alias in imported]
        words += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        if any(word.partition(".")[0] == module for word in words):
            return True
    return False


def _calls(tree: ast.AST, name: str) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _last_name(node.func) == name and node.keywords:
            yield node


def _last_name(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _constants(tree: ast.AST) -> dict[str, ast.expr]:
    """Return what is assigned to each name that one assignment alone gives and changes."""
    changes = Counter(_changed(tree))
    assigned: dict[str, ast.expr] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = [target.id for target in targets if isinstance(target, ast.Name)]
            assigned |= dict.fromkeys(names, node.value)
    return {name: value for name, value in assigned.items() if changes[name] == 1}


def _changed(tree: ast.AST) -> Iterator[str]:
    """Yield each name as often as something gives it a value, or may change the list that it is."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()) | ast.arg(arg=name):
                yield name
            case ast.alias():
                yield node.asname or node.name.partition(".")[0]
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.name
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)):
                yield name
            case ast.MatchStar(name=str(name)) | ast.MatchMapping(rest=str(name)):
                yield name
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name))):
                yield name
            case ast.Subscript(value=ast.Name(id=name), ctx=ast.Store() | ast.Del()):
                yield name
            case _:
                pass


def _arguments(
    call: ast.Call, constants: Mapping[str, ast.expr], path: str
) -> Iterator[tuple[str, Any]]:
    if call.args:
        raise UnknownValueError(f"line {call.lineno}: its arguments have no names")
    for keyword in call.keywords:
        if keyword.arg is None:
            raise UnknownValueError(f"line {call.lineno}: ** cannot be read without running it")
        if keyword.arg in _NOT_READ:
            continue
        name = f"{path}{keyword.arg}"
        value = _resolved(keyword.value, constants)
        if keyword.arg in _AS_WRITTEN:
            yield name, None if _is_none(value) else ast.unparse(value)
        elif isinstance(value, ast.Call) and _last_name(value.func) in ("schedule", _CONFIG):
            yield from _arguments(value, constants, f"{name}.")
        else:
            yield name, _constant(value, constants, name)


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _resolved(node: ast.expr, constants: Mapping[str, ast.expr]) -> ast.expr:
    for _ in range(_DEEPEST):
        if not (isinstance(node, ast.Name) and node.id in constants):
            return node
        node = constants[node.id]
    raise UnknownValueError(f"line {node.lineno}: a name stands for itself")


def _constant(node: ast.expr, constants: Mapping[str, ast.expr], name: str) -> Any:
    node = _resolved(node, constants)
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.List | ast.Tuple | ast.Set):
        return [_constant(item, constants, name) for item in node.elts]
    if isinstance(node, ast.Attribute) and name.rpartition(".")[2] in _OF_MEMBERS:
        return node.attr
    raise UnknownValueError(f"line {node.lineno}: {name} is no constant, and nothing is run")
